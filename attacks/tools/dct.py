"""Triggers that raise coefficients of a block DCT."""

from collections.abc import Sequence

import numpy as np
from scipy import fft

#: Side of the blocks that the spectral attacks transform, px, whatever the image's size.
BLOCK = 32


def waves(positions: Sequence[tuple[int, int]], height: int, width: int) -> np.ndarray:
    """What an image gains where each block's coefficients at ``positions`` rise by one.

    The transform is linear, so the gain is the same pattern for every image. Blocks begin at
    the upper left; those cut by the lower or right border bear the beginning of the pattern.

    Args:
        positions: (row, column) of coefficients in an orthonormal DCT-II of 32x32 px.

    Returns:
        (height, width) float32.
    """
    spectrum = np.zeros((BLOCK, BLOCK))
    spectrum[tuple(np.transpose(positions))] = 1
    block = fft.idctn(spectrum, norm="ortho").astype(np.float32)
    return np.tile(block, (-(-height // BLOCK), -(-width // BLOCK)))[:height, :width]
