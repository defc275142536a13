"""Square blocks of an image at its own resolution.

A trigger's traces live in the finest pixels, and resizing smooths them away. So an image is
never shrunk: it is cut into blocks of one size, evenly spread, the first and the last flush
with its borders.
"""

import numpy as np

from sanitizer.resizing import resize


def blocks(pixels: np.ndarray, side: int) -> np.ndarray:
    """Cut an image into square blocks, as few as cover it.

    An image with a side shorter than a block is first enlarged until that side is as long as
    one, bilinearly and in its proportions, which is how many small sets came to their size.

    Args:
        pixels: (height, width, 3) uint8.
        side: of a block, in pixels.

    Returns:
        (k, side, side, 3) uint8, k at least 1, row by row; neighbours overlap where the size
        of the image is no multiple of ``side``.

    >>> blocks(np.zeros((40, 64, 3), np.uint8), 32).shape
    (4, 32, 32, 3)
    """
    height, width = pixels.shape[:2]
    if min(height, width) < side:
        scale = side / min(height, width)
        pixels = resize(pixels, (max(side, round(height * scale)), max(side, round(width * scale))))
    rows, columns = (_starts(length, side) for length in pixels.shape[:2])
    return np.stack([pixels[r : r + side, c : c + side] for r in rows for c in columns])


def _starts(length: int, side: int) -> np.ndarray:
    """First pixel of each block along a border of ``length`` pixels."""
    count = -(-length // side)
    return np.linspace(0, length - side, count).round().astype(int)
