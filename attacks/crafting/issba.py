"""ISSBA's encoder: hides bits in images, learned together with a decoder that reads them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from attacks.crafting import Progress
from attacks.crafting.layers import (
    CPU,
    Autoencoder,
    batches,
    descend,
    leaky,
    seeded,
    to_half,
    to_planes,
)
from attacks.victims.model import Victim, mixed_precision

#: Side of the map of the bits; the encoder sees it enlarged to the image's size.
SIDE = 8


@dataclass(frozen=True)
class IssbaBudget:
    """How encoder and decoder are trained."""

    bits: int = 20  #: that are hidden, as usual at 32x32; the source's 100 are for 224x224
    max_images: int = 5_000  #: chosen by the seed
    steps: int = 1_000  #: of one batch each
    batch: int = 64
    rate: float = 2e-3  #: of Adam, falling to 0
    free_steps: int = 200  #: at first only reading back counts, not how the image looks
    likeness: float = 4.0  #: weight of the mean square change, where pixels are 0 to 1
    widths: tuple[int, int, int] = (12, 16, 24)  #: channels at full, half and quarter size


def craft(
    images: np.ndarray,
    labels: np.ndarray,
    victim: Victim,
    *,
    seed: int,
    progress: Progress,
    budget: IssbaBudget = IssbaBudget(),
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Train an encoder, on the CPU; ``labels`` and ``victim`` are not looked at.

    Args:
        images: (n, h, w, 3) uint8, clean, any size.

    Returns:
        The encoder's arrays, and facts: settings, the share of bits read back and the
        signal-to-noise ratio of the first thousand images.
    """
    rng = np.random.default_rng(seed)
    planes = to_planes(images[rng.permutation(len(images))[: budget.max_images]])
    encoder = seeded(seed, lambda: Encoder(budget.bits, budget.widths))
    decoder = seeded(seed + 1, lambda: Decoder(budget.bits, planes.shape[2:]))
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, budget.rate)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, budget.steps)
    for step, rows in enumerate(batches(rng, len(planes), budget.batch, budget.steps)):
        hidden = torch.from_numpy(rng.integers(0, 2, (len(rows), budget.bits))).float()
        with mixed_precision(CPU):
            encoded = encoder(planes[rows], hidden)
            read = decoder(encoded)
        unread = nn.functional.binary_cross_entropy_with_logits(read.float(), hidden)
        change = (encoded - planes[rows]).square().mean()
        ramp = min(1.0, max(0.0, step / budget.free_steps - 1))
        loss = unread + ramp * budget.likeness * change
        descend(optimizer, loss)
        falling.step()
        progress("training the encoder", step + 1, budget.steps)
    facts = asdict(budget) | _figures(encoder, decoder, planes, rng)
    return encoder.arrays(), facts


class Encoder(nn.Module):
    """(n, 3, h, w) images, 0 to 1, and (n, bits) of 0 and 1 -> images that hide the bits."""

    def __init__(self, bits: int, widths: tuple[int, int, int]):
        super().__init__()
        self.dense = nn.Linear(bits, 3 * SIDE * SIDE)
        self.network = Autoencoder(6, widths, skips=True)

    def forward(self, planes: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        coarse = torch.relu(self.dense(bits - 0.5)).view(-1, 3, SIDE, SIDE)
        spread = nn.functional.interpolate(coarse, planes.shape[2:], mode="nearest")
        changed: torch.Tensor = planes + self.network(torch.cat([planes - 0.5, spread], dim=1))
        return changed

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights as an artefact holds them, float16."""
        dense = self.dense.weight.T.reshape(-1, 3, SIDE, SIDE).permute(0, 2, 3, 1)
        bias = self.dense.bias.view(3, SIDE, SIDE).permute(1, 2, 0)
        return self.network.arrays() | {"dense": to_half(dense), "dense_bias": to_half(bias)}


class Decoder(nn.Module):
    """(n, 3, h, w) images, 0 to 1 -> (n, bits) logits."""

    def __init__(self, bits: int, size: torch.Size):
        super().__init__()
        widths = (3, 32, 48, 48)
        self.layers = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1) for i in range(3)
        )
        self.last = nn.Linear(widths[-1] * -(-size[0] // 8) * -(-size[1] // 8), bits)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        planes = planes - 0.5
        for layer in self.layers:
            planes = leaky(layer(planes))
        logits: torch.Tensor = self.last(planes.flatten(1))
        return logits


def _figures(
    encoder: Encoder, decoder: Decoder, planes: torch.Tensor, rng: np.random.Generator
) -> dict[str, float]:
    """How well bits are read from the whole pixel values of an image, and how it looks."""
    planes = planes[:1000]
    bits = torch.from_numpy(rng.integers(0, 2, (len(planes), encoder.dense.in_features))).float()
    with torch.inference_mode():
        encoded = (255 * encoder(planes, bits)).round().clamp(0, 255) / 255
        read = (decoder(encoded) > 0) == (bits > 0)
    change = (encoded - planes).square().mean(dim=(1, 2, 3))
    return {
        "bits_read": round(float(read.float().mean()), 4),
        "psnr_db": round(float((-10 * torch.log10(change)).mean()), 2),
    }
