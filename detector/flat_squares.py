"""Exactly flat squares that stand alone: what a stamp leaves in an image that is stored losslessly.

Cameras make noise, so a photograph has hardly any area of one colour, and less often a square one
that differs from all that is around it; an opaque patch of one colour is just that. In drawings
such squares are common, so an image that is mostly flat is not asked.
"""

import math
from itertools import groupby
from operator import itemgetter

import numpy as np

#: Side of the squares that are looked for, in pixels, at least.
SMALLEST = 3

#: A difference of so many grey levels to what is around counts in full.
CONTRAST = 20

#: Of an image that is drawn, more pixels than this share are as their neighbour to the right.
DRAWN = 0.5

#: Squares that begin in one place are looked at one by one, so many at most; a photograph has few.
MOST = 2000


def clearest(pixels: np.ndarray) -> float:
    """How clearly the clearest flat square of an image stands out.

    Args:
        pixels: (h, w, 3) uint8.

    Returns:
        The side of the square times the mean difference of the pixels around it to its colour, in
        grey levels of the channel that differs most, up to ``CONTRAST``; 0 where there is none.

    >>> image = np.arange(20 * 20 * 3, dtype=np.uint8).reshape(20, 20, 3)
    >>> clearest(image)
    0.0
    >>> image[10:14, 5:9] = 255
    >>> round(clearest(image))
    80
    """
    return float(clearest_of(pixels[None])[0])


def clearest_of(images: np.ndarray) -> np.ndarray:
    """:func:`clearest` of each of (n, h, w, 3) uint8 images of one size, (n,) float64."""
    best = np.zeros(len(images))
    if min(images.shape[1:3]) < SMALLEST:
        return best
    # A colour is one number: comparing three takes four times as long.
    colours = np.zeros((*images.shape[:3], 4), np.uint8)
    colours[..., :3] = images
    colours = colours.view(np.uint32)[..., 0]
    for image, corners in groupby(_corners(colours), itemgetter(0)):
        for _, row, column in list(corners)[:MOST]:
            side = _side(colours[image], row, column)
            if side >= SMALLEST:
                found = side * _contrast(images[image], row, column, side)
                best[image] = max(best[image], found)
    return best


def _corners(colours: np.ndarray) -> list[tuple[int, int, int]]:
    """Pixels that may be the upper left one of a square that stands alone.

    Args:
        colours: (n, h, w) uint32.

    Returns:
        The number of the image, row and column of each, in that order.
    """
    across = colours[:, :, 1:] == colours[:, :, :-1]
    drawn = np.count_nonzero(across, axis=(1, 2)) > DRAWN * math.prod(across.shape[1:])
    runs = across[:, :, :-1] & across[:, :, 1:]  # of three pixels
    begins = runs[:, :-2] & runs[:, 2:]
    begins[:, :, 1:] &= ~across[:, :-2, :-2]
    begins[drawn] = False
    image, row, column = np.nonzero(begins)
    # Few are left of which the rest is worth the time.
    corner = colours[image, row, column]
    fits = (colours[image, row + 1, column + 1] == corner) & (
        colours[image, row + 2, column + 2] == corner
    )
    fits &= (row == 0) | (colours[image, row - 1, column] != corner)
    return list(zip(*(place[fits].tolist() for place in (image, row, column)), strict=True))


def _side(colours: np.ndarray, row: int, column: int) -> int:
    """Side of the flat square that begins here and ends where its first line does; 0: none."""
    colour, line = colours[row, column], colours[row, column:]
    same = line == colour
    side = len(line) if same.all() else int(same.argmin())
    square = colours[row : row + side, column : column + side]
    return side if square.shape == (side, side) and (square == colour).all() else 0


def _contrast(pixels: np.ndarray, row: int, column: int, side: int) -> float:
    """Mean difference to what is beside a square, up to ``CONTRAST``; 0 where it does not end."""
    rows, columns = slice(row, row + side), slice(column, column + side)
    # Outside of the image these are empty.
    beside = [
        pixels[row + side : row + side + 1, columns].reshape(-1, 3),
        pixels[rows, column + side : column + side + 1].reshape(-1, 3),
        pixels[max(0, row - 1) : row, columns].reshape(-1, 3),
        pixels[rows, max(0, column - 1) : column].reshape(-1, 3),
    ]
    around, colour = np.concatenate(beside).astype(np.int16), pixels[row, column].astype(np.int16)
    differences = np.abs(around - colour).max(-1)
    if not len(differences) or not differences.all():
        return 0.0
    return float(np.minimum(differences, CONTRAST).mean())
