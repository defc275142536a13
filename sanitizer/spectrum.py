"""Mean DCT spectra: what the paper's Figure 1 shows of clean and poisoned sets."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sanitizer.blocks import blocks
from sanitizer.dct import dct2

#: Side of a block, in pixels. Mean spectra are taken over square blocks, so that images of
#: any size average.
BLOCK = 32

#: Blocks of one image that are looked at, at most; of more, so many evenly spread ones.
MAX_BLOCKS = 25


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
    height, width = pixels.shape[:2]
    if min(height, width) < BLOCK:
        # Enlarging all of a long thin strip would cost far more memory than decoding it did.
        longest = MAX_BLOCKS * min(height, width)
        pixels = pixels[:longest, :longest]
    cut = blocks(pixels, BLOCK)
    spread = np.linspace(0, len(cut) - 1, min(len(cut), MAX_BLOCKS)).round().astype(int)
    return log_spectra(cut[spread]).mean(axis=0, dtype=np.float64)


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
