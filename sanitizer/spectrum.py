"""Mean DCT spectra: what the paper's Figure 1 shows of clean and poisoned sets."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sanitizer.blocks import blocks
from sanitizer.dct import dct2

#: Side of a block, in pixels. Mean spectra are taken over square blocks, so that images of
#: any size average.
BLOCK = 32

#: Blocks along each side of an image that are looked at, at most: 25 of a large image.
MAX_BLOCKS = 5


def log_spectra(images: np.ndarray) -> np.ndarray:
    """The log-magnitude DCT of each image, averaged over its channels.

    Args:
        images: (n, height, width, channels), any real dtype, 0 to 255.

    Returns:
        (n, height, width) float32, 0 or above; ``[..., 0, 0]`` is the lowest frequency.
    """
    return np.log1p(np.abs(dct2(images))).mean(axis=1)


def block_spectrum(pixels: np.ndarray) -> np.ndarray:
    """The mean of :func:`log_spectra` over the blocks of one image.

    Args:
        pixels: (height, width, 3) uint8, of any size.

    Returns:
        (BLOCK, BLOCK) float64, 0 or above.
    """
    cut = blocks(pixels, BLOCK, most=MAX_BLOCKS)
    return log_spectra(cut).mean(axis=0, dtype=np.float64)


@dataclass(frozen=True)
class MeanSpectrum:
    """The mean of :func:`block_spectrum` over images."""

    values: np.ndarray  #: (BLOCK, BLOCK) float64, 0 or above; 0 throughout without an image
    images: int  #: how many were averaged

    @classmethod
    def of(cls, images: Iterable[np.ndarray]) -> "MeanSpectrum":
        """Average images of (height, width, 3) uint8 each, one in memory at a time.

        >>> MeanSpectrum.of([np.zeros((40, 50, 3), np.uint8)]).values.shape
        (32, 32)
        """
        total, count = np.zeros((BLOCK, BLOCK)), 0
        for pixels in images:
            total += block_spectrum(pixels)
            count += 1
        return cls(total / max(count, 1), count)
