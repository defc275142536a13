"""Where in a single tile a score comes from: where it falls most when that place is covered.

Zeiler and Fergus ("Visualizing and Understanding Convolutional Networks", ECCV 2014) cover a place
with grey. Here the colours around it are spread over it, as grey would be a sticker itself.
"""

import numpy as np

#: Sides of the windows that are covered, and steps between them, in shares of the tile.
_WINDOW, _STEP = 4, 8


def windows(side: int) -> list[tuple[int, int, int]]:
    """Top, left and side of the windows of a tile, in pixels.

    >>> windows(32)[:2], len(windows(32))
    ([(0, 0, 8), (0, 4, 8)], 49)
    """
    size, step = side // _WINDOW, side // _STEP
    starts = range(0, side - size + 1, step)
    return [(top, left, size) for top in starts for left in starts]


def covered(tile: np.ndarray) -> np.ndarray:
    """The tile once for each of :func:`windows`, with that covered.

    Args:
        tile: (side, side, 3) uint8.

    Returns:
        (k, side, side, 3) uint8.
    """
    side = len(tile)
    places = windows(side)
    tiles = np.repeat(tile[None], len(places), axis=0)
    for one, (top, left, size) in zip(tiles, places, strict=True):
        inside = (slice(top, top + size), slice(left, left + size))
        # Between the rows above and below, and the columns on both sides, as far as there are any.
        rows = _between(tile, top - 1, top + size, inside[1], size)
        columns = _between(tile.swapaxes(0, 1), left - 1, left + size, inside[0], size)
        one[inside] = ((rows + columns.swapaxes(0, 1)) / 2).round()
    return tiles


def _between(tile: np.ndarray, before: int, behind: int, across: slice, size: int) -> np.ndarray:
    """(size, size, 3) float: from one line of pixels to another, evenly."""
    ends = [line for line in (before, behind) if 0 <= line < len(tile)]
    first, last = tile[ends[0], across].astype(float), tile[ends[-1], across].astype(float)
    share = ((np.arange(size) + 1) / (size + 1))[:, None, None]
    return first * (1 - share) + last * share
