"""ISSBA's encoder: hides bits in images, learned together with a decoder that reads them."""

import numpy as np
import torch
from torch import nn

from attacks.crafting import Crafted, Progress
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
from attacks.issba import IssbaBudget, IssbaProvenance
from attacks.tools.provenance import Provenance
from attacks.victims.model import Victim, mixed_precision

#: Side of the map of the bits; the encoder sees it enlarged to the image's size.
SIDE = 8

#: Images that encoder and decoder are measured on.
MEASURED = 1000

#: As the trigger that ships was crafted.
BUDGET = IssbaBudget()


def craft(
    images: np.ndarray,
    labels: np.ndarray,
    victim: Victim,
    *,
    origin: Provenance,
    progress: Progress,
    budget: IssbaBudget = BUDGET,
) -> Crafted:
    """Train an encoder, on the CPU; ``labels`` and ``victim`` are not looked at.

    Args:
        images: (n, h, w, 3) uint8, clean, any size.

    Returns:
        The encoder's arrays, and the provenance.
    """
    rng = np.random.default_rng(origin.seed)
    planes = to_planes(images[rng.permutation(len(images))[: budget.max_images]])
    encoder = seeded(origin.seed, lambda: Encoder(budget.bits, budget.widths))
    decoder = seeded(origin.seed + 1, lambda: Decoder(budget.bits, planes.shape[2:]))
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
    bits_read, psnr_db = _measured(encoder, decoder, planes[:MEASURED], rng)
    provenance = IssbaProvenance(
        **vars(origin), **vars(budget), bits_read=bits_read, psnr_db=psnr_db
    )
    return encoder.arrays(), provenance


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


def _measured(
    encoder: Encoder, decoder: Decoder, planes: torch.Tensor, rng: np.random.Generator
) -> tuple[float, float]:
    """The share of bits read back from whole pixel values, and the signal-to-noise ratio, dB."""
    bits = torch.from_numpy(rng.integers(0, 2, (len(planes), encoder.dense.in_features))).float()
    with torch.inference_mode():
        encoded = (255 * encoder(planes, bits)).round().clamp(0, 255) / 255
        read = (decoder(encoded) > 0) == (bits > 0)
    change = (encoded - planes).square().mean(dim=(1, 2, 3))
    psnr_db = float((-10 * torch.log10(change)).mean())
    return round(float(read.float().mean()), 4), round(psnr_db, 2)
