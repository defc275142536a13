"""Smooth triggers: the low-pass filter they pass, and how they are put on images.

Both follow Zeng et al., ICCV 2021, Section 5 and its public implementation.
"""

import numpy as np
from scipy import ndimage

from attacks.tools.windows import changed, windows

#: Taps of the filter on one axis, px at 32x32, and its standard deviation, px.
TAPS, SIGMA = 30, 6.0

#: Difference between a smooth trigger's largest and smallest value; pixels are 0 to 1.
RANGE = 0.2


def kernel() -> np.ndarray:
    """The filter on one axis, (30,) float32, sum 1: a Gaussian of 6 px around its middle.

    The source writes it as a Gaussian of 30 units that is sampled every 5. Its taps are even
    in number: for the output at ``i`` they lie on ``i - 14`` to ``i + 15``.
    """
    offsets = np.arange(TAPS) - (TAPS - 1) / 2
    weights = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def low_pass(pattern: np.ndarray) -> np.ndarray:
    """The filter ``g``: a pattern smoothed along both axes, with zeros beyond its borders.

    Args:
        pattern: (h, w, c), any real dtype and range.

    Returns:
        (h, w, c) float32.
    """
    return filtered(filtered(pattern.astype(np.float32), 0), 1)


def filtered(values: np.ndarray, axis: int) -> np.ndarray:
    """float32 values after the filter along one axis, with zeros beyond the borders."""
    return ndimage.correlate1d(values, kernel(), axis, mode="constant", origin=-1)


def to_range(pattern: np.ndarray) -> np.ndarray:
    """A pattern shifted and scaled to run from 0 to ``RANGE``, float32."""
    shifted = pattern.astype(np.float32) - pattern.min()
    return shifted * (RANGE / shifted.max())


def add_and_rescale(images: np.ndarray, trigger: np.ndarray) -> np.ndarray:
    """``M(x + r)``: the trigger added, then each image scaled to run from black to white.

    The min-max scaler ``M`` takes all pixels and channels of an image together.

    Args:
        images: (n, h, w, c) uint8, changed in place.
        trigger: (h, w, c), where pixels are 0 to 1.

    Returns:
        ``images``.
    """

    def mixed(rows: slice, columns: slice) -> np.ndarray:
        return images[:, rows, columns] + 255 * trigger[rows, columns].astype(np.float32)

    darkest = np.full((len(images), 1, 1, 1), np.inf, np.float32)
    brightest = -darkest
    for window in windows(*images.shape[1:3]):
        values = mixed(*window)
        np.minimum(darkest, values.min(axis=(1, 2, 3), keepdims=True), out=darkest)
        np.maximum(brightest, values.max(axis=(1, 2, 3), keepdims=True), out=brightest)
    scale = 255 / np.maximum(brightest - darkest, 1e-6)
    return changed(images, lambda rows, columns: (mixed(rows, columns) - darkest) * scale)
