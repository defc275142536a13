"""What the finest pixels of an image show, which no mean over its areas can: some 1,000 bytes.

Triggers that leave a small copy of an image as it was change what stands between neighbouring
pixels: a warp smooths them, a change of colour depth leaves gaps between their values, a pattern
made in a frequency domain or by a network stands in the blocks of JPEG's grid. All of that is
summed up over 8 x 8 windows of native pixels; the views of a batch are made from the sums.
"""

from itertools import product

import numpy as np
from PIL import Image

from sanitizer.dct import dct_matrix
from sanitizer.scan.views import OPPONENT, Batch

#: Windows in each direction, spread evenly from border to border.
WINDOWS = 8

#: The windows whose blocks are transformed, as a sample: every second one, down and across.
TRANSFORMED = np.arange(WINDOWS**2).reshape(WINDOWS, WINDOWS)[::2, ::2].ravel()

#: Side of the blocks that are transformed, that of JPEG's; these windows begin where blocks do.
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
    windows = _windows(pixels)
    parts = [_energies(windows), _values(pixels), *_blocks(windows[:, TRANSFORMED])]
    return np.clip(np.rint(np.concatenate(parts)), 0, 255).astype(np.uint8)


def _windows(pixels: np.ndarray) -> np.ndarray:
    """(3, 64, height, width) uint8: the planes of all windows.

    One by one, as indices would first copy whole rows of an image of any length.
    """
    (tops, height), (lefts, width) = (_cuts(side) for side in pixels.shape[:2])
    windows = np.empty((3, WINDOWS * WINDOWS, height, width), np.uint8)
    for number, (top, left) in enumerate(product(tops, lefts)):
        window = pixels[top : top + height, left : left + width]
        windows[:, number] = window.transpose(2, 0, 1)
    return windows


def _cuts(side: int) -> tuple[list[int], int]:
    """Where windows begin along a side, and their length; those of small images overlap.

    Every second one begins where a block does, and the next one no later than it ends; the last
    one ends at the border, where stickers are put.
    """
    length = min(LONGEST, -(-(side + WINDOWS * BLOCK // 2) // (WINDOWS * BLOCK)) * BLOCK)
    starts = np.arange(WINDOWS) * (side - length) // (WINDOWS - 1)
    starts[::2] = (starts[::2] + BLOCK // 2) // BLOCK * BLOCK
    starts[1:-1:2] = np.minimum(starts[1:-1:2], starts[:-2:2] + length)
    return starts.tolist(), length


def _energies(windows: np.ndarray) -> np.ndarray:
    """Half logs of the mean squares of second and fourth differences of the luma."""
    red, green, blue = windows.astype(np.int16)
    luma = np.ascontiguousarray((red + 2 * green + blue).transpose(1, 2, 0))
    down, across = _second(luma, 0), _second(luma, 1)
    # Each is squared at once, as many large arrays in memory cost more time than their contents.
    squares = [
        *(_mean_square(across), _mean_square(down)),
        _mean_square(np.diff(np.diff(luma, axis=0), axis=1)),
        *(_mean_square(_second(across, 1)), _mean_square(_second(down, 0))),
        _mean_square(_second(across, 0)),
    ]
    return _BY_ENERGY * 0.5 * np.log1p(np.concatenate(squares))


def _mean_square(differences: np.ndarray) -> np.ndarray:
    """(64,) float32, over the (row, column, window) differences of each window."""
    values = differences.reshape(-1, WINDOWS**2).astype(np.float32)
    return np.einsum("pw,pw->w", values, values) / len(values)


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
    _, count, height, width = windows.shape
    down, across = count * height // BLOCK, width // BLOCK
    blocks = windows.reshape(3, down, BLOCK, across, BLOCK).transpose(0, 1, 3, 2, 4)
    planes = OPPONENT.astype(np.float32) @ blocks.reshape(3, -1).astype(np.float32)
    coefficients = planes.reshape(-1, BLOCK * BLOCK) @ _DCT
    coefficients = coefficients.reshape(3, -1, BLOCK * BLOCK)
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
