"""Views of an image: what of it is compared, in which a shared trigger may stand out.

Every view is a function of a batch of *canonical* images, 32 x 32 pixels that show the whole
image, and gives one row of numbers an image. A trigger is faint in most views and strong in one:
a sticker in the second differences, a blended picture in the signed DCT, a warp in the local
energies, a change of colour depth in the histogram.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sanitizer.dct import dct2

#: Side of a canonical image, in pixels.
SIDE = 32

#: Luma and two colour differences, rows of unit length: opponent colours, in which natural
#: images are nearly uncorrelated (Ruderman, Cronin, Chiao, JOSA A 15, 1998).
OPPONENT = np.array([[1, 1, 1], [1, -1, 0], [0.5, 0.5, -1]])
OPPONENT /= np.linalg.norm(OPPONENT, axis=1, keepdims=True)

#: Half the side of a canonical image: the DCT coefficients up to here carry what survives JPEG.
HALF = SIDE // 2

#: Coefficients below this index carry the lowest frequencies, where faint smooth triggers lie.
LOW = SIDE // 4

#: First indices of the DCT bands, by the larger of a coefficient's two indices; the mean of the
#: image, index 0, has none.
BANDS = (1, 3, 5, 8, 12, 16)


@dataclass(frozen=True)
class Batch:
    """Canonical images, and what several views need of them, computed once."""

    pixels: np.ndarray  #: (n, 32, 32, 3) uint8
    planes: np.ndarray  #: (n, 3, 32, 32) float32, red, green, blue
    coefficients: np.ndarray  #: (n, 3, 32, 32) float32, the DCT of the opponent colours
    native: np.ndarray | None  #: (n, b) uint8, each a :func:`~sanitizer.scan.native.summary`

    @classmethod
    def of(cls, pixels: np.ndarray, native: np.ndarray | None = None) -> "Batch":
        """Args: pixels: (n, 32, 32, 3) uint8; native: (n, b) uint8, where a view needs it."""
        planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 1), np.float32)
        opponent = np.tensordot(OPPONENT.astype(np.float32), planes, (1, 1))
        return cls(pixels, planes, dct2(np.moveaxis(opponent, 0, -1)), native)

    @cached_property
    def fine(self) -> list[np.ndarray]:
        """Three of (n, 3, 32, 32) float32: second differences across, down and crosswise."""
        return [_differences(self.planes, *pair) for pair in _FINE]


def low_frequencies(batch: Batch) -> np.ndarray:
    """(n, 192): the signed DCT at the lowest 8 x 8 frequencies."""
    return _flat(batch.coefficients[:, :, :LOW, :LOW])


def frequencies(batch: Batch) -> np.ndarray:
    """(n, 768): the signed DCT at the lower 16 x 16 frequencies."""
    return _flat(batch.coefficients[:, :, :HALF, :HALF])


def spectrum(batch: Batch) -> np.ndarray:
    """(n, 512): log magnitude of the whole DCT plane, luma and colour, mean of 2 x 2."""
    logs = np.log1p(np.abs(batch.coefficients))
    return _flat(_cells(np.stack([logs[:, 0], (logs[:, 1] + logs[:, 2]) / 2], 1), HALF))


def edges(batch: Batch) -> np.ndarray:
    """(n, 771): log magnitude of second differences, mean of 2 x 2 pixels, and their means.

    Across, down and crosswise, mean of the colours; the mean of each image is taken out of its
    cells and stands by itself, so that a sticker shows in images of any contrast.
    """
    cells = _cells(fine_detail(batch), HALF)
    mean = cells.mean((2, 3), keepdims=True)
    return np.concatenate([_flat(cells - mean), _flat(mean)], 1)


def fine_detail(batch: Batch) -> np.ndarray:
    """(n, 3, 32, 32): log magnitude of second differences, mean of the colours.

    Across, down and crosswise.
    """
    return np.stack([np.log1p(np.abs(one)).mean(1) for one in batch.fine], 1)


def energies(batch: Batch) -> np.ndarray:
    """(n, 576): half the log of the mean square of differences in 8 x 8 cells.

    Second differences at one and two pixels and fourth ones at one: how much of each scale is
    left where resampling, as of a warp, has smoothed the image.
    """
    coarser = (_differences(batch.planes, *pair) for pair in (*_WIDE, *_FOURTH))
    maps = itertools.chain(batch.fine, coarser)
    squares = np.stack([np.einsum("nchw,nchw->nhw", one, one) / 3 for one in maps], 1)
    return _flat(0.5 * np.log(_cells(squares, SIDE // 4) + 4))


def histogram(batch: Batch) -> np.ndarray:
    """(n, 269): root of the counts of the 256 values, how many occur, and the extremes.

    The extremes are each colour's least and largest value and the logs of how often it is 0 and
    255. Triggers that requantise or rescale an image leave gaps and bounds here.
    """
    n = len(batch.pixels)
    # An image at a time: one count of all would first make a wide copy of them.
    counts = np.stack([np.bincount(one, minlength=256) for one in batch.pixels.reshape(n, -1)])
    colours = batch.planes.reshape(n, 3, -1)
    extremes = [
        colours.min(2),
        colours.max(2),
        np.log1p((colours == 0).sum(2)),
        np.log1p((colours == 255).sum(2)),
    ]
    different = (counts > 0).sum(1)[:, None]
    return np.concatenate([np.sqrt(counts), different, *extremes], 1, dtype=np.float32)


def _difference(offsets: tuple[int, ...], weights: tuple[int, ...]) -> np.ndarray:
    """(32, 32): the matrix that takes a weighted sum around each pixel; borders are mirrored."""
    matrix = np.zeros((SIDE, SIDE), np.float32)
    for offset, weight in zip(offsets, weights, strict=True):
        at = np.abs(np.arange(SIDE) + offset)
        np.add.at(matrix, (np.arange(SIDE), np.minimum(at, 2 * (SIDE - 1) - at)), weight)
    return matrix


_SAME = np.eye(SIDE, dtype=np.float32)
_FIRST, _FIRST_WIDE = (_difference((0, step), (1, -1)) for step in (1, 2))
_SECOND, _SECOND_WIDE = (_difference((-step, 0, step), (-1, 2, -1)) for step in (1, 2))


def _differences(planes: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Differences of (..., 32, 32) by one of the matrices above, in each direction."""
    planes = planes if across is _SAME else planes @ across.T
    return planes if down is _SAME else down @ planes


#: (down, across) of the differences at one pixel.
_FINE = ((_SAME, _SECOND), (_SECOND, _SAME), (_FIRST, _FIRST))
_WIDE = ((_SAME, _SECOND_WIDE), (_SECOND_WIDE, _SAME), (_FIRST_WIDE, _FIRST_WIDE))
_FOURTH = ((_SAME, _SECOND @ _SECOND), (_SECOND @ _SECOND, _SAME), (_SECOND, _SECOND))


def _cells(planes: np.ndarray, count: int) -> np.ndarray:
    """Means of (..., 32, 32) over count x count cells."""
    pool = np.repeat(np.eye(count, dtype=np.float32), SIDE // count, 1) * (count / SIDE)
    return pool @ planes @ pool.T


def _flat(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.reshape(len(values), -1), np.float32)
