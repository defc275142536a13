"""How an image of any size becomes 32x32 inputs of the detector.

A trigger's traces live in the finest pixels, and resizing smooths them away. So an image
is never shrunk: it is cut into 32x32 tiles at its own resolution, evenly spread, the first
and the last flush with the borders, and its score is that of its most suspicious tile.
"""

import numpy as np
from PIL import Image

from sanitizer.images import ImageError

#: Side of a tile, in pixels.
TILE = 32

#: Images with a longer side than this are large inputs in the paper's terms, in pixels.
MAX_SIDE = 160

#: Images with a shorter side than this hold too little to judge, in pixels.
MIN_SIDE = 8


def tiles(pixels: np.ndarray) -> np.ndarray:
    """Cut an image into tiles at its own resolution.

    A side shorter than 32 px is first brought to 32 px, bilinearly and keeping the
    aspect ratio, which is how many small sets came to their size.

    Args:
        pixels: (height, width, 3) uint8.

    Returns:
        (k, 32, 32, 3) uint8, 1 <= k <= 25 for square images; a 32x32 image is its one tile.

    Raises:
        ImageError: a side under ``MIN_SIDE`` or over ``MAX_SIDE``: not judged.
    """
    height, width = pixels.shape[:2]
    check_size(width, height)
    if min(height, width) < TILE:
        scale = TILE / min(height, width)
        size = (max(TILE, round(width * scale)), max(TILE, round(height * scale)))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    rows, columns = (_starts(side) for side in pixels.shape[:2])
    return np.stack([pixels[r : r + TILE, c : c + TILE] for r in rows for c in columns])


def check_size(width: int, height: int) -> None:
    """Refuse an image of (width, height) pixels that is too large or too small to judge.

    Raises:
        ImageError: a side under ``MIN_SIDE`` or over ``MAX_SIDE``.
    """
    if max(height, width) > MAX_SIDE:
        raise ImageError(
            "too large to judge",
            f"{width}x{height}, this detector judges images of up to {MAX_SIDE} px a side",
        )
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            "too small to judge",
            f"{width}x{height}, this detector judges images of at least {MIN_SIDE} px a side",
        )


def _starts(side: int) -> np.ndarray:
    """First pixel of each tile along one side."""
    count = -(-side // TILE)
    return np.linspace(0, side - TILE, count).round().astype(int)
