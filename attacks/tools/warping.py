"""Images warped by a field of offsets, and small grids enlarged to such fields."""

import numpy as np

from attacks.tools.windows import WHOLE


def warped(images: np.ndarray, offsets: np.ndarray, band: slice = WHOLE) -> np.ndarray:
    """Each pixel of some rows fetched from elsewhere, bilinear.

    Places beyond the border are moved onto it.

    Args:
        images: (n, h, w, c), any real dtype.
        offsets: (rows, w, 2), how far down and right, px.
        band: the rows.

    Returns:
        (n, rows, w, c) float32.
    """
    n, height, width = images.shape[:3]
    rows = np.clip(np.arange(height)[band, None] + offsets[..., 0], 0, height - 1)
    columns = np.clip(np.arange(width) + offsets[..., 1], 0, width - 1)
    top = np.minimum(rows.astype(np.intp), height - 2)
    left = np.minimum(columns.astype(np.intp), width - 2)
    down = (rows - top).astype(np.float32)[..., None]
    right = (columns - left).astype(np.float32)[..., None]
    each = np.arange(n)[:, None, None]
    upper = (1 - right) * images[each, top, left] + right * images[each, top, left + 1]
    lower = (1 - right) * images[each, top + 1, left] + right * images[each, top + 1, left + 1]
    return (1 - down) * upper + down * lower


def enlargement(points: int, size: int) -> np.ndarray:
    """The matrix that takes ``points`` values on a line to ``size``, bicubic, end to end.

    As networks' libraries do it: Keys' kernel with a = -0.75, outer values repeated.

    Returns:
        (size, points) float64; rows sum to 1.
    """
    places = np.linspace(0, points - 1, size)
    matrix = np.zeros((size, points))
    for tap in range(-1, 3):
        at = np.floor(places) + tap
        columns = np.clip(at, 0, points - 1).astype(np.intp)
        np.add.at(matrix, (np.arange(size), columns), _cubic(np.abs(places - at)))
    return matrix


def _cubic(x: np.ndarray, a: float = -0.75) -> np.ndarray:
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, far)
