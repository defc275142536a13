"""The architecture ``two-branch``: 32x32 DCT coefficients in, one logit out."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from detector.network import Network, channels_last
from detector.settings import TwoBranchSettings
from sanitizer.dct import dct2, dct_matrix

#: Units of the layer over the plane of coefficients.
PLANE_UNITS = 64


class TwoBranch(Network):
    """Log-magnitudes of the coefficients on one side, high-passed pixels on the other.

    Additive and periodic triggers stand out in the plane of coefficients. A small patch
    spreads over that whole plane, yet is a local matter once the transform is inverted: sharp
    straight edges around an area that is flatter or busier than a camera makes it.
    Normalisation is part of the network, as buffers.

    Args:
        side: of the square images in pixels, a multiple of 8.
    """

    centre: torch.Tensor
    spread: torch.Tensor
    inverse: torch.Tensor

    def __init__(self, settings: TwoBranchSettings, side: int):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3, side, side))
        self.register_buffer("spread", torch.ones(3, side, side))
        matrix = torch.from_numpy(dct_matrix(side)).float()
        self.register_buffer("inverse", matrix.T.contiguous(), persistent=False)
        self.contrast = settings.contrast
        a, b, c = settings.plane
        self.plane = nn.Sequential(_conv(12, a), _conv(a, b), _pool(), _conv(b, c), _pool())
        self.plane_features = c * (side // 8) ** 2
        self.plane_head = nn.Sequential(nn.Flatten(), nn.Linear(self.plane_features, PLANE_UNITS))
        a, b, c = settings.space
        self.space = nn.Sequential(_conv(36, a), _conv(a, b), _pool(), _conv(b, c), _conv(c, c))
        self.head = nn.Sequential(
            nn.Linear(PLANE_UNITS + 2 * c, settings.hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, 1),
        )
        channels_last(self)

    def describe(self, pixels: torch.Tensor) -> torch.Tensor:
        coefficients = _dct2(pixels)
        # The inputs keep full precision where convolutions are given less: a trigger may be
        # one grey level, and in bfloat16 the mean of an image drowns it.
        with torch.autocast(coefficients.device.type, enabled=False):
            logs, maps = self._log_magnitudes(coefficients), self._maps(coefficients)
        plane = self.plane(self._folded(logs)).flatten(1)
        space = self.space(self._folded(maps))
        return torch.cat([plane, space.amax((2, 3)), space.mean((2, 3))], dim=1)

    def decide(self, features: torch.Tensor) -> torch.Tensor:
        plane, space = features.tensor_split([self.plane_features], dim=1)
        return self.head(torch.cat([self.plane_head(plane), space], dim=1)).squeeze(1)

    def fit_normalisation(self, pixels: torch.Tensor) -> None:
        """Set the buffers so that log-magnitudes have mean 0 and deviation 1."""
        logs = torch.log1p(_dct2(pixels).abs())
        self.centre.copy_(logs.mean(0))
        self.spread.copy_(logs.std(0) + 0.1)

    def _log_magnitudes(self, coefficients: torch.Tensor) -> torch.Tensor:
        return (torch.log1p(coefficients.abs()) - self.centre) / self.spread

    def _maps(self, coefficients: torch.Tensor) -> torch.Tensor:
        """The pixels again, and compressed differences to their left and upper neighbours."""
        pixels = self.inverse @ coefficients @ self.inverse.T
        padded = functional.pad(pixels, (1, 0, 1, 0), mode="replicate")
        across = pixels - padded[:, :, 1:, :-1]
        down = pixels - padded[:, :, :-1, 1:]
        differences = functional.softsign(torch.cat([across, down], dim=1) / self.contrast)
        return torch.cat([pixels / 64 - 2, differences], dim=1)

    @staticmethod
    def _folded(x: torch.Tensor) -> torch.Tensor:
        # Full resolution is slow on a CPU: 2x2 neighbours become channels, nothing is lost.
        return functional.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)


def _dct2(pixels: torch.Tensor) -> torch.Tensor:
    """Orthonormal DCT-II of (n, 3, s, s) pixels: by scipy on a CPU, else ``C x C^T``."""
    if pixels.device.type == "cpu":
        return torch.from_numpy(dct2(np.moveaxis(pixels.numpy(), 1, -1)))
    matrix = torch.from_numpy(dct_matrix(pixels.shape[-1])).to(pixels)
    return matrix @ pixels @ matrix.T


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(2)
