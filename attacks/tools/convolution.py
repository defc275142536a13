"""A small convolutional network in plain numpy, for triggers that are made by one.

Sums are exact, so a result is the same on every machine, with any number of threads, alone
and in a batch: weights and activations are multiples of ``GRID``, products of ``GRID**2``, and
float64 holds sums of those up to two million without an error, in whatever order they are.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from attacks.base import to_uint8
from attacks.tools.artefacts import Artefact
from attacks.tools.windows import windows

#: What all numbers in a network are multiples of.
GRID = 2.0**-16

#: Slope of the activation below 0.
SLOPE = 0.25

#: Images are continued to multiples of so many px, since the network halves them twice.
MULTIPLE = 4

#: Layers of the network.
DEPTH = 7

#: No output depends on an input that is further away on an axis, px; a multiple of ``MULTIPLE``.
REACH = 16


@dataclass(frozen=True)
class Autoencoder:
    """An image made smaller and large again.

    Four 3x3 convolutions, of which the second and third halve the size; two transposed 4x4
    convolutions that double it; a last 3x3 convolution. Activations are leaky between them.
    Where ``skips`` is set, layers after a doubling also take what had that size before, the
    last one the input too (U-Net).
    """

    weights: list[np.ndarray]  #: (side, side, channels in, channels out) float64 each
    biases: list[np.ndarray]  #: (channels out,) float64 each
    skips: bool

    @classmethod
    def of(cls, artefact: Artefact[Any], *, skips: bool) -> "Autoencoder":
        """The network whose layers are the arrays ``weight0``, ``bias0``, ``weight1``, ...

        Raises:
            ValueError: a layer is missing or no such array.
        """
        weights = [on_grid(artefact.array(f"weight{i}", 4)) for i in range(DEPTH)]
        biases = [on_grid(artefact.array(f"bias{i}", 1)) for i in range(DEPTH)]
        return cls(weights, biases, skips)

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        """(h, w, channels in) real values, a few units large -> (h, w, channels out) float64."""
        height, width = planes.shape[:2]
        below, beside = -height % MULTIPLE, -width % MULTIPLE
        whole = on_grid(np.pad(planes, ((0, below), (0, beside), (0, 0)), mode="edge"))
        layers = list(zip(self.weights, self.biases, strict=True))
        full = leaky(convolved(whole, *layers[0]))
        half = leaky(convolved(full, *layers[1], stride=2))
        quarter = leaky(convolved(half, *layers[2], stride=2))
        inner = leaky(convolved(quarter, *layers[3]))
        half = self._joined(leaky(doubled(inner, *layers[4])), half)
        full = self._joined(leaky(doubled(half, *layers[5])), full, whole)
        return convolved(full, *layers[6])[:height, :width]

    def applied(
        self,
        images: np.ndarray,
        planes: Callable[[np.ndarray, slice, slice], np.ndarray],
        values: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """What the network makes of images, window by window: its many planes are never whole.

        Args:
            images: (n, h, w, 3) uint8.
            planes: the network's input, of an image and some of its rows and columns.
            values: what becomes of (h, w, 3) uint8 pixels, by the output there: real values of
                0 to 255 to be rounded and clipped.

        Returns:
            (n, h, w, 3) uint8.
        """
        triggered = np.empty_like(images)
        for image, made in zip(images, triggered, strict=True):
            for rows, columns in windows(*image.shape[:2]):
                top, left = max(0, rows.start - REACH), max(0, columns.start - REACH)
                around = slice(top, rows.stop + REACH), slice(left, columns.stop + REACH)
                output = self(planes(image, *around))
                here = image[rows, columns]
                inside = output[rows.start - top :, columns.start - left :]
                inside = inside[: here.shape[0], : here.shape[1]]
                made[rows, columns] = to_uint8(values(here, inside))
        return triggered

    def _joined(self, planes: np.ndarray, *skipped: np.ndarray) -> np.ndarray:
        return np.concatenate([planes, *skipped], axis=2) if self.skips else planes


def convolved(
    planes: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1
) -> np.ndarray:
    """A 3x3 convolution, with zeros beyond the border.

    Args:
        planes: (h, w, channels in) float64.
        weight: (3, 3, channels in, channels out) float64.
        bias: (channels out,) float64.

    Returns:
        (h / stride, w / stride, channels out) float64, sizes rounded up.
    """
    height, width = planes.shape[:2]
    around = np.pad(planes, ((1, 1), (1, 1), (0, 0)))
    total = bias
    for down in range(3):
        for right in range(3):
            tap = around[down : down + height : stride, right : right + width : stride]
            total = total + tap @ weight[down, right]
    return total


#: Of the two output rows that an input row becomes: which rows of the padded input they take,
#: counted from the one above it, and by which rows of the weights.
TAPS = (((0, 3), (1, 1)), ((1, 2), (2, 0)))


def doubled(planes: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A transposed 4x4 convolution of stride 2, with zeros beyond the border.

    Args:
        planes: (h, w, channels in) float64.
        weight: (4, 4, channels in, channels out) float64.
        bias: (channels out,) float64.

    Returns:
        (2 h, 2 w, channels out) float64.
    """
    height, width = planes.shape[:2]
    around = np.pad(planes, ((1, 1), (1, 1), (0, 0)))
    output = np.tile(bias, (height, 2, width, 2, 1))
    for odd_row, odd_column in itertools.product(range(2), repeat=2):
        for (down, i), (right, j) in itertools.product(TAPS[odd_row], TAPS[odd_column]):
            tap = around[down : down + height, right : right + width]
            output[:, odd_row, :, odd_column] += tap @ weight[i, j]
    return output.reshape(2 * height, 2 * width, -1)


def leaky(planes: np.ndarray) -> np.ndarray:
    """The activation: values below 0 are reduced."""
    return on_grid(np.maximum(planes, SLOPE * planes))


def on_grid(values: np.ndarray) -> np.ndarray:
    """Values rounded to multiples of ``GRID``, float64."""
    return np.rint(values.astype(np.float64) / GRID) * GRID
