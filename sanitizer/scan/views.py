"""Views of an image: what of it is compared, in which a shared trigger may stand out.

Every view is a function of a batch of *canonical* images, 32 x 32 pixels that show the whole
image, and gives one row of numbers an image. A trigger is faint in most views and strong in one:
a sticker in the second differences, a blended picture in the signed DCT, a warp in the local
energies, a change of colour depth in the histogram.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

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
    """Canonical images, and what several views need of them, computed once.

    Images are the last axis, one value beside the other: so neighbouring pixels and coefficients
    are long rows, of which sums, differences and products take a fraction of the time.
    """

    pixels: np.ndarray  #: (n, 32, 32, 3) uint8
    colours: np.ndarray  #: (3, 32, 32, n) uint8, red, green, blue
    coefficients: np.ndarray  #: (3, 32, 32, n) float32, the DCT of the opponent colours
    native: np.ndarray | None  #: (n, b) uint8, each a :func:`~sanitizer.scan.native.summary`

    @classmethod
    def of(cls, pixels: np.ndarray, native: np.ndarray | None = None) -> "Batch":
        """Args: pixels: (n, 32, 32, 3) uint8; native: (n, b) uint8, where a view needs it."""
        colours = np.ascontiguousarray(pixels.transpose(3, 1, 2, 0))
        opponent = (_OPPONENT @ colours.reshape(3, -1).astype(np.float32)).reshape(colours.shape)
        return cls(pixels, colours, dct_of_planes(opponent), native)

    @cached_property
    def fine(self) -> "Differences":
        """Second differences of neighbouring pixels."""
        return _second_differences(self.colours, 1)

    def coarser(self) -> Iterator[np.ndarray]:
        """Each (3, 32, 32, n) int16: second differences two pixels apart, and fourth ones.

        Across, down and crosswise.
        """
        yield from _second_differences(self.colours, 2)
        across, down, _ = self.fine
        yield _around(across, 1, _ACROSS)
        yield _around(down, 1, _DOWN)
        yield _around(across, 1, _DOWN)


#: Across, down and crosswise, each (3, 32, 32, n) int16.
Differences = tuple[np.ndarray, np.ndarray, np.ndarray]


def low_frequencies(batch: Batch) -> np.ndarray:
    """(n, 192): the signed DCT at the lowest 8 x 8 frequencies."""
    return _flat(batch.coefficients[:, :LOW, :LOW])


def frequencies(batch: Batch) -> np.ndarray:
    """(n, 768): the signed DCT at the lower 16 x 16 frequencies."""
    return _flat(batch.coefficients[:, :HALF, :HALF])


def spectrum(batch: Batch) -> np.ndarray:
    """(n, 512): log magnitude of the whole DCT plane, luma and colour, mean of 2 x 2."""
    logs = _cells(log_magnitudes(batch.coefficients), HALF)
    return _flat(np.stack([logs[0], (logs[1] + logs[2]) / 2]))


def edges(batch: Batch) -> np.ndarray:
    """(n, 771): log magnitude of second differences, mean of 2 x 2 pixels, and their means.

    Across, down and crosswise, mean of the colours; the mean of each image is taken out of its
    cells and stands by itself, so that a sticker shows in images of any contrast.
    """
    cells = _cells(fine_detail(batch), HALF)
    mean = cells.mean((1, 2), keepdims=True)
    return np.concatenate([_flat(cells - mean), _flat(mean)], 1)


def fine_detail(batch: Batch) -> np.ndarray:
    """(3, 32, 32, n) float32: log magnitude of second differences, mean of the colours.

    Across, down and crosswise.
    """
    detail = np.empty((len(batch.fine), *batch.fine[0].shape[1:]), np.float32)
    for mean, (red, green, blue) in zip(detail, map(log_magnitudes, batch.fine), strict=True):
        np.add(red, green, out=mean)
        mean += blue
        mean /= 3
    return detail


def log_magnitudes(values: np.ndarray) -> np.ndarray:
    """float32: logs of 1 more than the magnitudes of values, of which the smallest do not count."""
    magnitudes = np.abs(values).astype(np.float32, copy=False)
    magnitudes += 1
    return np.log(magnitudes, out=magnitudes)


def energies(batch: Batch) -> np.ndarray:
    """(n, 576): half the log of the mean square of differences in 8 x 8 cells.

    Second differences at one and two pixels and fourth ones at one: how much of each scale is
    left where resampling, as of a warp, has smoothed the image.
    """
    maps = itertools.chain(batch.fine, batch.coarser())
    means = np.stack([_cells(_squares(one), SIDE // 4) / 3 for one in maps])
    return _flat(0.5 * np.log(means + 4))


def _squares(differences: np.ndarray) -> np.ndarray:
    """(32, 32, n) float32: sums over the colours."""
    squares = differences.astype(np.float32)
    squares *= squares
    squares[0] += squares[1]
    squares[0] += squares[2]
    return squares[0]


def histogram(batch: Batch) -> np.ndarray:
    """(n, 269): root of the counts of the 256 values, how many occur, and the extremes.

    The extremes are each colour's least and largest value and the logs of how often it is 0 and
    255. Triggers that requantise or rescale an image leave gaps and bounds here.
    """
    n = len(batch.pixels)
    # An image at a time: one count of all would first make a wide copy of them.
    counts = np.stack([np.bincount(one, minlength=256) for one in batch.pixels.reshape(n, -1)])
    colours = batch.colours.reshape(3, SIDE * SIDE, n)
    extremes = [
        colours.min(1),
        colours.max(1),
        np.log1p((colours == 0).sum(1, dtype=np.uint16).astype(np.float64)),
        np.log1p((colours == 255).sum(1, dtype=np.uint16).astype(np.float64)),
    ]
    different = (counts > 0).sum(1)[:, None]
    every = [np.sqrt(counts), different, *(one.T for one in extremes)]
    return np.concatenate(every, 1, dtype=np.float32)


def _second_differences(colours: np.ndarray, step: int) -> Differences:
    """Those of pixels ``step`` apart, of (3, 32, 32, n) colours."""
    whole = colours.astype(np.int16)  # and so are the differences: their sums have no rounding
    crosswise = _ahead(_ahead(whole, step, _ACROSS), step, _DOWN)
    return _around(whole, step, _ACROSS), _around(whole, step, _DOWN), crosswise


#: Axes of (3, 32, 32, n) colours.
_DOWN, _ACROSS = 1, 2


def _around(values: np.ndarray, step: int, axis: int) -> np.ndarray:
    """Twice each value less those ``step`` before it and behind it; borders are mirrored."""
    values = values.swapaxes(0, axis)
    around = 2 * values
    around[:-step] -= values[step:]
    around[-step:] -= values[-2 : -2 - step : -1]
    around[step:] -= values[:-step]
    around[:step] -= values[step:0:-1]
    return around.swapaxes(0, axis)


def _ahead(values: np.ndarray, step: int, axis: int) -> np.ndarray:
    """Each value less that ``step`` behind it; the border is mirrored."""
    values = values.swapaxes(0, axis)
    ahead = values.copy()
    ahead[:-step] -= values[step:]
    ahead[-step:] -= values[-2 : -2 - step : -1]
    return ahead.swapaxes(0, axis)


_OPPONENT = OPPONENT.astype(np.float32)


def dct_of_planes(planes: np.ndarray) -> np.ndarray:
    """The DCT, as :func:`~sanitizer.dct.dct2`, of (c, 32, 32, n) float32, which is written to."""
    from scipy import fft  # takes a while to load

    return fft.dctn(planes, type=2, axes=(_DOWN, _ACROSS), norm="ortho", overwrite_x=True)


def _cells(planes: np.ndarray, count: int) -> np.ndarray:
    """Means of (..., 32, 32, n) over count x count cells."""
    *before, _, _, n = planes.shape
    size = SIDE // count
    rows = planes.reshape(*before, count, size, SIDE * n).sum(-2)
    cells: np.ndarray = rows.reshape(*before, count, count, size, n).sum(-2)
    cells *= np.float32(1 / size**2)
    return cells


def _flat(values: np.ndarray) -> np.ndarray:
    """(n, d) of (..., n), in the order in which they lie in memory."""
    return values.reshape(-1, values.shape[-1]).T
