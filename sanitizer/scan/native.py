"""What the finest pixels of an image show, which no mean over its areas can: some 1,000 bytes.

Triggers that leave a small copy of an image as it was change what stands between neighbouring
pixels: a warp smooths them, a change of colour depth leaves gaps between their values, a pattern
made in a frequency domain or by a network stands in the blocks of JPEG's grid. All of that is
summed up over 8 x 8 windows of native pixels; the views of a batch are made from the sums.
"""

import numpy as np
from PIL import Image

from sanitizer.dct import dct_matrix
from sanitizer.scan.views import OPPONENT, Batch

#: Windows in each direction, spread evenly from border to border.
WINDOWS = 8

#: Side of the blocks that are transformed, that of JPEG's; windows begin where blocks do.
BLOCK = 8

#: The longest side of a window, px: of large images the windows are a sample.
LONGEST = 64

#: The shortest side of an image that has so many windows, px.
LEAST_SIDE = 32

#: What a summary holds, and the bytes of it: energies of differences in each window; counts of
#: the values 0 to 255, how many occur, each colour's least and largest value and how often it is
#: 0 and 255; log magnitudes in a block, of luma and colour; signed means in a block, of luma and
#: two colours.
_ENERGIES, _VALUES, _SPECTRUM, _PATTERN = 6 * WINDOWS**2, 256 + 1 + 12, 2 * BLOCK**2, 3 * BLOCK**2

_ENDS = np.cumsum([_ENERGIES, _VALUES, _SPECTRUM, _PATTERN])

#: Bytes of a summary.
NBYTES = int(_ENDS[-1])

#: Bytes a unit, as fine as the numbers deserve within 0 to 255: of half the log of an energy, of
#: the root of a count, of the log of a count, of the root of a log magnitude, of the root of a
#: signed mean.
_BY_ENERGY, _BY_COUNT, _BY_LOG, _BY_MAGNITUDE, _BY_MEAN = 25, 16, 14, 85, 16

#: Counts are given as among so many values, those of 32 x 32 pixels.
_COUNTED = 3_072


def summary(pixels: np.ndarray) -> np.ndarray:
    """(NBYTES,) uint8: sums over an (h, w, 3) uint8 image, both sides at least ``LEAST_SIDE``.

    Its time is bounded by that of 512 x 512 pixels, but for the counts of values.
    """
    rows, columns = (_windows(side) for side in pixels.shape[:2])
    planes = np.ascontiguousarray(pixels[rows.ravel()].transpose(2, 0, 1))
    windows = planes[:, :, columns.ravel()].reshape(3, *rows.shape, *columns.shape)
    parts = [_energies(windows), _values(pixels), *_blocks(windows[:, ::2])]
    return np.clip(np.rint(np.concatenate(parts)), 0, 255).astype(np.uint8)


def _windows(side: int) -> np.ndarray:
    """(WINDOWS, length) int64: the rows of each window; the windows of small images overlap."""
    length = min(LONGEST, -(-(side // WINDOWS + BLOCK // 2) // BLOCK) * BLOCK)
    starts = np.arange(WINDOWS) * (side - length) // (WINDOWS - 1) // BLOCK * BLOCK
    return starts[:, None] + np.arange(length)


def _energies(windows: np.ndarray) -> np.ndarray:
    """Half logs of the mean squares of second and fourth differences of the luma."""
    red, green, blue = windows.astype(np.int16)
    luma = red + 2 * green + blue  # (window, row, window, column)
    down, across = _second(luma, 1), _second(luma, 3)
    maps = (
        *(across, down, np.diff(np.diff(luma, axis=1), axis=3)),
        *(_second(across, 3), _second(down, 1), _second(across, 1)),
    )
    squares = []
    for one in maps:
        values = one.astype(np.float32)
        squares.append(np.einsum("icjd,icjd->ij", values, values) / (one[0, :, 0].size))
    return _BY_ENERGY * 0.5 * np.log1p(np.concatenate(squares, axis=None))


def _second(values: np.ndarray, axis: int) -> np.ndarray:
    """Second differences, where there are neighbours on both sides."""
    return np.diff(values, 2, axis)


def _values(pixels: np.ndarray) -> np.ndarray:
    colours = np.array(Image.fromarray(pixels).histogram()).reshape(3, 256)
    counts = colours.sum(0)
    occurs = colours > 0
    extremes = occurs.argmax(1), 255 - occurs[:, ::-1].argmax(1)
    ends = _BY_LOG * np.log1p(colours[:, [0, 255]].T.ravel())
    roots = _BY_COUNT * np.sqrt(counts * (_COUNTED / counts.sum()))
    return np.concatenate([roots, [(counts > 0).sum() - 1], *extremes, ends])


def _blocks(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the DCT of all blocks: roots of mean log magnitudes, and signed roots of means."""
    down, across = (windows.shape[i] * windows.shape[i + 1] // BLOCK for i in (1, 3))
    planes = OPPONENT.astype(np.float32) @ windows.reshape(3, -1).astype(np.float32)
    blocks = planes.reshape(3, down, BLOCK, across, BLOCK).transpose(0, 1, 3, 2, 4)
    coefficients = blocks.reshape(3, -1, BLOCK * BLOCK) @ _DCT
    means = coefficients.mean(1)
    logs = np.log(1 + np.abs(coefficients)).mean(1)
    magnitudes = np.sqrt(np.concatenate([logs[0], (logs[1] + logs[2]) / 2]))
    signed = (np.sign(means) * np.sqrt(np.abs(means))).ravel()
    return _BY_MAGNITUDE * magnitudes, 128 + _BY_MEAN * signed


#: Takes the 64 pixels of a block to its 64 coefficients.
_DCT = np.ascontiguousarray(np.kron(dct_matrix(BLOCK), dct_matrix(BLOCK)).T, np.float32)


def energies(batch: Batch) -> np.ndarray:
    """(n, 384): half the log of the mean square of differences in 8 x 8 windows.

    Second and fourth differences across, down and crosswise, which resampling makes smaller.
    """
    return _part(batch, 0) / np.float32(_BY_ENERGY)


def values(batch: Batch) -> np.ndarray:
    """(n, 269): root of the counts of the 256 values, how many occur, and the extremes.

    As :func:`sanitizer.scan.views.histogram`, of all native pixels.
    """
    return _part(batch, 1)


def spectrum(batch: Batch) -> np.ndarray:
    """(n, 128): mean log magnitude at each frequency of an 8 x 8 block, luma and colour.

    It tells how an image was compressed and resampled, and so what was done to it afterwards.
    """
    return (_part(batch, 2) / np.float32(_BY_MAGNITUDE)) ** 2


def pattern(batch: Batch) -> np.ndarray:
    """(n, 192): mean of each coefficient of an 8 x 8 block, with its sign, in opponent colours.

    Content has none but the slow change of its light; a pattern that repeats has.
    """
    roots = (_part(batch, 3) - 128) / np.float32(_BY_MEAN)
    return roots * np.abs(roots)


def _part(batch: Batch, number: int) -> np.ndarray:
    assert batch.native is not None
    start, end = (0, *_ENDS)[number : number + 2]
    return batch.native[:, start:end].astype(np.float32)
