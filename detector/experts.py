"""The architecture ``experts``: two that look at different things, and a judge of both.

The local expert sees pixels: patches, edges and flat areas that no camera makes. The spectral
one sees the whole tile at once: waves, layers and codecs. Trained as one network the spectrum,
which is learnt in minutes, starves the patches, which take long; so each learns from its own
loss, and the judge from what both have learnt, without a say in it.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from detector.network import Network, channels_last
from detector.settings import BLOCK, FLATNESS, LARGE_DIFFERENCE, ExpertsSettings
from sanitizer.dct import dct_matrix


class Experts(Network):
    """The local and the spectral expert, and the judge.

    Args:
        side: of the square images in pixels, a multiple of 8.
    """

    def __init__(self, settings: ExpertsSettings, side: int):
        super().__init__()
        self.side = side
        self.local = Local(settings)
        self.spectral = Spectral(settings, side)
        units = [self.local.units, self.spectral.units]
        self.judge = nn.Sequential(
            nn.Linear(sum(units), settings.hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.hidden, 1),
        )
        #: What each expert would say alone: only training asks.
        self.alone = nn.ModuleList(nn.Linear(n, 1) for n in units)
        channels_last(self)

    def opinions(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat(self._opinions(pixels), dim=1)

    def lessons(self, pixels: torch.Tensor) -> torch.Tensor:
        opinions = self._opinions(pixels)
        alone = [head(opinion) for head, opinion in zip(self.alone, opinions, strict=True)]
        fused = self.judge(torch.cat([opinion.detach() for opinion in opinions], dim=1))
        return torch.cat([*alone, fused], dim=1).T

    def fit_normalisation(self, pixels: torch.Tensor) -> None:
        self.spectral.fit_normalisation(pixels)

    def _opinions(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        with torch.autocast(pixels.device.type, enabled=False):
            spectra = self.spectral.inputs(pixels)
        return [self.local(pixels), self.spectral(*spectra)]


class Local(nn.Module):
    """Small convolutions over differences of neighbouring pixels."""

    bank: torch.Tensor

    def __init__(self, settings: ExpertsSettings):
        super().__init__()
        a, b, c, d = settings.local
        self.register_buffer("bank", _bank(), persistent=False)
        self.of_bank = nn.Conv2d(3 + len(self.bank), a, 3, stride=2, padding=1, bias=False)
        self.of_flat = nn.Conv2d(2 * len(FLATNESS), a, 3, stride=2, padding=1)
        self.fine = _conv(a, b)
        self.coarse = nn.Sequential(_conv(b, c), _conv(c, d))
        self.features = b + 3 * d
        self.units = settings.local_units
        self.head = nn.Sequential(
            nn.Linear(self.features, self.units), nn.ReLU(), nn.Dropout(settings.dropout)
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, units) of (n, 3, side, side) pixels."""
        with torch.autocast(pixels.device.type, enabled=False):
            levels = pixels.contiguous(memory_format=torch.channels_last) / 127.5 - 1
            differences, flat = self._differences(pixels), _flat_maps(pixels)
        # One convolution of both, without putting them side by side, which takes longer.
        of_levels, of_differences = self.of_bank.weight.split([3, len(self.bank)], dim=1)
        first = functional.conv2d(differences, of_differences, stride=2, padding=1)
        first += functional.conv2d(levels, of_levels, stride=2, padding=1)
        fine = self.fine(functional.relu_(first + self.of_flat(flat)))
        smaller = functional.max_pool2d(fine, 2)
        coarse = self.coarse(smaller)
        # Between the largest and the mean: what several places have, and not all. The root has
        # no slope at 0, where a channel is silent.
        middle = (coarse.square().mean((2, 3)) + 1e-6).sqrt()
        pooled = [smaller.amax((2, 3)), coarse.amax((2, 3)), coarse.mean((2, 3)), middle]
        opinions: torch.Tensor = self.head(torch.cat(pooled, dim=1))
        return opinions

    def _differences(self, pixels: torch.Tensor) -> torch.Tensor:
        # Repeated beyond its border, an image has no edge there.
        padded = functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
        padded = padded.contiguous(memory_format=torch.channels_last)
        return functional.hardtanh_(functional.conv2d(padded, self.bank))


class Spectral(nn.Module):
    """Layers over the logarithms of the DCT of the whole tile, and of JPEG's blocks in it."""

    matrix: torch.Tensor
    block_matrix: torch.Tensor
    centre: torch.Tensor
    spread: torch.Tensor
    block_centre: torch.Tensor
    block_spread: torch.Tensor

    def __init__(self, settings: ExpertsSettings, side: int):
        super().__init__()
        matrix, block = (torch.from_numpy(dct_matrix(n)).float() for n in (side, BLOCK))
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("block_matrix", block, persistent=False)
        self.register_buffer("centre", torch.zeros(3, side, side))
        self.register_buffer("spread", torch.ones(3, side, side))
        self.register_buffer("block_centre", torch.zeros(3, BLOCK, BLOCK))
        self.register_buffer("block_spread", torch.ones(3, BLOCK, BLOCK))
        a, b = settings.plane
        self.plane = _layers(3 * side**2, a, b, settings.dropout)
        c, d = settings.block
        self.block = _layers(3 * 3 * BLOCK**2, c, d, settings.dropout)
        self.units = b + d

    def inputs(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised log-magnitudes of (n, 3, side, side) pixels.

        Returns:
            Of the whole tile (n, 3 side side); and mean, largest and smallest over the blocks of
            8x8 pixels, (n, 576).
        """
        plane = (self._log_plane(pixels) - self.centre) / self.spread
        blocks = self._log_blocks(pixels)
        over_blocks = [_over_blocks(blocks, by) for by in (torch.mean, torch.amax, torch.amin)]
        normalised = (torch.stack(over_blocks, dim=1) - self.block_centre) / self.block_spread
        return plane.flatten(1), normalised.flatten(1)

    def forward(self, plane: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
        """(n, units) of what :meth:`inputs` returns."""
        return torch.cat([self.plane(plane), self.block(blocks)], dim=1)

    def fit_normalisation(self, pixels: torch.Tensor) -> None:
        """Set the buffers so that log-magnitudes have mean 0 and deviation 1."""
        plane, blocks = self._log_plane(pixels), self._log_blocks(pixels)
        self.centre.copy_(plane.mean(0))
        self.spread.copy_(plane.std(0) + 0.1)
        by_block = blocks.unflatten(2, (-1, BLOCK)).unflatten(4, (-1, BLOCK))
        self.block_centre.copy_(by_block.mean((0, 2, 4)))
        self.block_spread.copy_(by_block.std((0, 2, 4)) + 0.1)

    def _log_plane(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.log1p((self.matrix @ pixels @ self.matrix.T).abs())

    def _log_blocks(self, pixels: torch.Tensor) -> torch.Tensor:
        """The DCT of each block in its place, of brightness and two differences of colour."""
        red, green, blue = pixels.unbind(1)
        # Nearly the colours of JPEG.
        planes = torch.stack([(red + 2 * green + blue) / 4, red - green, blue - green], dim=1)
        n, _, height, width = planes.shape
        across = planes.reshape(n, 3, height, width // BLOCK, BLOCK) @ self.block_matrix.T
        strips = across.reshape(n, 3, height // BLOCK, BLOCK, width)
        return torch.log1p((self.block_matrix @ strips).abs()).reshape(planes.shape)


def _over_blocks(planes: torch.Tensor, by: Callable[..., torch.Tensor]) -> torch.Tensor:
    """(n, 3, side, side) reduced over all blocks to (n, 3, 8, 8)."""
    rows = by(planes.unflatten(2, (-1, BLOCK)), 2)
    return by(rows.unflatten(3, (-1, BLOCK)), 3)


def _bank() -> torch.Tensor:
    """Fixed filters (9, 3, 3, 3): differences to neighbours.

    Cut off where a difference is large, as in the rich models of steganalysis (Fridrich and
    Kodovsky, IEEE TIFS 2012): beyond, it says no more.
    """
    weights = np.zeros((9, 3, 3, 3), np.float32)
    brightness = np.array([0.25, 0.5, 0.25])[:, None, None]
    across = np.array([[0, 0, 0], [1, -2, 1], [0, 0, 0]])
    diagonal = np.array([[1, 0, -1], [0, 0, 0], [-1, 0, 1]])
    for colour in range(3):
        weights[colour, colour, 1, :2] = np.array([-1, 1]) / LARGE_DIFFERENCE
        weights[3 + colour, colour, :2, 1] = np.array([-1, 1]) / LARGE_DIFFERENCE
    for place, filtered in enumerate((across, across.T, diagonal), start=6):
        weights[place] = brightness * filtered / LARGE_DIFFERENCE
    return torch.from_numpy(weights)


def _flat_maps(pixels: torch.Tensor) -> torch.Tensor:
    """How flat an image is at each pixel, to the left and upwards: (n, 4, side, side), 0 to 1."""
    across = (pixels[..., 1:] - pixels[..., :-1]).abs_().amax(1)
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).abs_().amax(1)
    steps = (functional.pad(across, (1, 0)), functional.pad(down, (0, 0, 1, 0)))
    maps = [functional.relu(1 - step / scale) for step in steps for scale in FLATNESS]
    return torch.stack(maps, dim=-1).permute(0, 3, 1, 2)


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _layers(inputs: int, first: int, second: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, first, bias=False),
        nn.BatchNorm1d(first),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(first, second),
        nn.ReLU(),
    )
