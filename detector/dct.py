"""The DCT on whichever device the network runs on, equal to :func:`sanitizer.dct.dct2`."""

import numpy as np
import torch

from sanitizer.dct import dct2, dct_matrix


def dct2_on(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Orthonormal DCT-II of square images as ``C x C^T`` on a GPU, by scipy on a CPU.

    Args:
        images: (n, s, s, 3) uint8.

    Returns:
        (n, 3, s, s) float32 on ``device``.
    """
    if device.type == "cpu":
        return torch.from_numpy(dct2(images))
    return matrix_dct2(torch.from_numpy(np.ascontiguousarray(images)).to(device))


def matrix_dct2(images: torch.Tensor) -> torch.Tensor:
    """``C x C^T`` of (n, s, s, channels) images, (n, channels, s, s) float32."""
    planes = images.permute(0, 3, 1, 2).to(torch.float32)
    matrix = torch.from_numpy(dct_matrix(planes.shape[-1])).to(planes)
    return matrix @ planes @ matrix.T
