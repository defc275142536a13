"""Square blocks of an image, at its own resolution and evenly spread."""

import numpy as np

from sanitizer.resizing import resize


def blocks(pixels: np.ndarray, side: int, most: int | None = None) -> np.ndarray:
    """Cut an image into square blocks; the first and the last are flush with its borders.

    An image with a side shorter than a block is first enlarged until that side is as long,
    bilinearly and in the same proportions.

    Args:
        pixels: (height, width, 3) uint8, at least one pixel.
        side: of a block, in pixels.
        most: blocks along each side of the image, at most; None: as many as it takes to cover
            every pixel. It bounds the memory for an image of any size; of an image that has
            to be enlarged and is more than ``most`` times as long as wide, the middle is cut.

    Returns:
        (k, side, side, 3) uint8, k at least 1, row by row.

    >>> blocks(np.zeros((40, 32, 3), np.uint8), 32).shape
    (2, 32, 32, 3)
    """
    if pixels.shape[:2] == (side, side):  # by far the most frequent, and it is its own block
        return pixels[None]
    if min(pixels.shape[:2]) < side:
        pixels = _enlarged(pixels, side, most)
    rows, columns = (_starts(length, side, most) for length in pixels.shape[:2])
    return np.stack([pixels[r : r + side, c : c + side] for r in rows for c in columns])


def _enlarged(pixels: np.ndarray, side: int, most: int | None) -> np.ndarray:
    shorter = min(pixels.shape[:2])
    if most is not None:
        pixels = _middle(pixels, most * shorter)
    scale = side / shorter
    height, width = (max(side, round(length * scale)) for length in pixels.shape[:2])
    return resize(pixels, (height, width))


def _middle(pixels: np.ndarray, longest: int) -> np.ndarray:
    """The middle of an image: neither side is longer than ``longest`` px."""
    top, left = (max(0, length - longest) // 2 for length in pixels.shape[:2])
    return pixels[top : top + longest, left : left + longest]


def _starts(length: int, side: int, most: int | None) -> np.ndarray:
    """The first pixel of each block along a side of the image."""
    count = -(-length // side)
    count = count if most is None else min(count, most)
    return np.linspace(0, length - side, count).round().astype(int)
