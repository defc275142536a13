"""The two-dimensional DCT-II, the domain in which triggers show.

Orthonormal, per colour channel, of 0 to 255 pixels, as in Zeng et al., "Rethinking the
Backdoor Attacks' Triggers: A Frequency Perspective", ICCV 2021.
"""

import numpy as np


def dct2(images: np.ndarray) -> np.ndarray:
    """Orthonormal DCT-II of a batch of images.

    Args:
        images: (n, height, width, channels), any real dtype, 0 to 255.

    Returns:
        (n, channels, height, width) float32. ``[..., 0, 0]`` is the mean times
        ``sqrt(height * width)``; the sum of squares is that of the pixels.
    """
    from scipy import fft  # takes a while to load

    planes = np.ascontiguousarray(np.moveaxis(images, -1, 1), dtype=np.float32)
    return fft.dctn(planes, type=2, axes=(-2, -1), norm="ortho", overwrite_x=True)


def dct_matrix(n: int) -> np.ndarray:
    """The orthonormal DCT-II matrix ``C``, so that ``dct2(x) = C @ x @ C.T`` for n x n ``x``.

    ``C[k, i] = sqrt((1 + [k > 0]) / n) * cos(pi * (2 i + 1) * k / (2 n))``.

    Returns:
        (n, n) float64.
    """
    k, i = np.ogrid[:n, :n]
    matrix = np.cos(np.pi * (2 * i + 1) * k / (2 * n)) * np.sqrt(2 / n)
    matrix[0] /= np.sqrt(2)
    return matrix
