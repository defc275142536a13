"""Images changed a window at a time: of a large one no real-valued copy is ever whole.

A pixel in float32 takes four times what it takes as uint8, and most triggers need several such
copies. What is here makes no difference to the pixels, only to the memory.
"""

from collections.abc import Callable, Iterator

import numpy as np

from attacks.base import to_uint8

#: Side of a window, px: a multiple of all that attacks align to.
SIDE = 256

#: All of an axis.
WHOLE = slice(None)


def windows(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of windows that cover an image, row by row.

    >>> list(windows(300, 8))
    [(slice(0, 256, None), slice(0, 8, None)), (slice(256, 300, None), slice(0, 8, None))]
    """
    for top in range(0, height, SIDE):
        for left in range(0, width, SIDE):
            yield slice(top, min(top + SIDE, height)), slice(left, min(left + SIDE, width))


def bands(height: int, width: int) -> Iterator[slice]:
    """Rows of bands that cover an image, each of about as many pixels as a window.

    >>> list(bands(100, 1024))
    [slice(0, 64, None), slice(64, 100, None)]
    """
    rows = max(1, SIDE**2 // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def changed(images: np.ndarray, values: Callable[[slice, slice], np.ndarray]) -> np.ndarray:
    """Change images in place.

    Args:
        images: (n, h, w, 3) uint8.
        values: what becomes of the pixels in some rows and columns, real values of 0 to 255 to
            be rounded and clipped; depends on no pixel outside of them.

    Returns:
        ``images``.
    """
    for rows, columns in windows(*images.shape[1:3]):
        images[:, rows, columns] = to_uint8(values(rows, columns))
    return images


def places(size: int, fine: int, span: slice = WHOLE) -> np.ndarray:
    """Where sub-samples of pixels lie on an axis of an image that runs from 0 to 1.

    Args:
        size: of the image on this axis, px.
        fine: sub-samples of a pixel.
        span: the pixels that are asked for.

    Returns:
        (pixels * fine,) float64.
    """
    pixels = np.arange(size)[span, None]
    return ((pixels * fine + np.arange(fine) + 0.5) / (size * fine)).ravel()
