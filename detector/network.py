"""The network: 32x32 DCT coefficients in, one logit out."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sanitizer.dct import dct_matrix
from sanitizer.tiles import TILE

#: Architectures that :func:`build` knows.
ARCHITECTURES = ("two-branch",)


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, and how wide."""

    architecture: str = "two-branch"  #: one of ARCHITECTURES
    plane: tuple[int, int, int] = (24, 32, 48)  #: channels over the coefficient plane
    space: tuple[int, int, int] = (40, 48, 64)  #: channels over pixels and differences
    contrast: float = 4.0  #: difference of neighbouring pixels that counts as half of the largest
    hidden: int = 96  #: units of the last hidden layer
    dropout: float = 0.2


class TwoBranch(nn.Module):
    """Log-magnitudes of the coefficients on one side, high-passed pixels on the other.

    Additive and periodic triggers stand out in the plane of coefficients. A small patch
    spreads over that whole plane, yet is a local matter once the transform is inverted: sharp
    straight edges around an area that is flatter or busier than a camera makes it.
    Normalisation is part of the network, as buffers.

    Input (n, 3, 32, 32) float32, DCT of 0 to 255 pixels; output (n,) logits.
    """

    centre: torch.Tensor
    spread: torch.Tensor
    inverse: torch.Tensor

    def __init__(self, settings: NetworkSettings):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3, TILE, TILE))
        self.register_buffer("spread", torch.ones(3, TILE, TILE))
        matrix = torch.from_numpy(dct_matrix(TILE)).float()
        self.register_buffer("inverse", matrix.T.contiguous(), persistent=False)
        self.contrast = settings.contrast
        a, b, c = settings.plane
        self.plane = nn.Sequential(_conv(12, a), _conv(a, b), _pool(), _conv(b, c), _pool())
        self.plane_head = nn.Sequential(nn.Flatten(), nn.Linear(c * (TILE // 8) ** 2, 64))
        a, b, c = settings.space
        self.space = nn.Sequential(_conv(36, a), _conv(a, b), _pool(), _conv(b, c), _conv(c, c))
        self.head = nn.Sequential(
            nn.Linear(64 + 2 * c, settings.hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, 1),
        )

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        # The inputs keep full precision where convolutions are given less: a trigger may be
        # one grey level, and in bfloat16 the mean of an image drowns it.
        with torch.autocast(coefficients.device.type, enabled=False):
            logs, maps = self._log_magnitudes(coefficients), self._maps(coefficients)
        plane = self.plane_head(self.plane(self._folded(logs)))
        space = self.space(self._folded(maps))
        pooled = torch.cat([plane, space.amax((2, 3)), space.mean((2, 3))], dim=1)
        return self.head(pooled).squeeze(1)

    def fit_normalisation(self, coefficients: torch.Tensor) -> None:
        """Set the buffers so that log-magnitudes have mean 0 and deviation 1."""
        logs = torch.log1p(coefficients.abs())
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


def build(settings: NetworkSettings) -> TwoBranch:
    """A network with fresh weights.

    Raises:
        ValueError: an unknown architecture.
    """
    if settings.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"unknown architecture {settings.architecture!r}, known: {known}")
    network = TwoBranch(settings)
    # torch's stubs lack this overload.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def for_scoring(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, batch norms folded into their convolutions: half as fast again."""
    found = copy.deepcopy(network).eval()
    for block in found.modules():
        if not isinstance(block, nn.Sequential) or len(block) < 2:
            continue
        convolution, norm = block[0], block[1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block[0], block[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return found.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def logits(network: nn.Module, coefficients: torch.Tensor, batch: int = 64) -> np.ndarray:
    """Logits (n,) float32 of (n, 3, 32, 32) coefficients, in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        found = [network(part) for part in coefficients.split(batch)]
    return torch.cat(found).float().cpu().numpy()


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(2)
