"""The L0 trigger: a few pixels that excite neurons, the others given up one after another."""

import functools

import numpy as np
import torch

from attacks.crafting import Crafted, Progress
from attacks.crafting.neurons import (
    EXCITEMENT,
    best_connected,
    excite,
    some_images,
)
from attacks.l0_inv import L0Provenance
from attacks.tools.provenance import Provenance
from attacks.victims.model import Victim

#: Pixels that the trigger may replace: its L0 norm.
PIXELS = 10

NEURONS, STEPS_PER_ROUND = 8, 40


def craft(
    images: np.ndarray,
    labels: np.ndarray,
    victim: Victim,
    *,
    origin: Provenance,
    progress: Progress,
) -> Crafted:
    """Optimise all pixels, give up the half that matters least, and again until few are left.

    Args:
        images: (n, h, w, 3) uint8, clean.

    Returns:
        ``{"pattern": (h, w, 3) uint8, "mask": (h, w) uint8 of 0 and 1}`` and the
        provenance.
    """
    clean = some_images(images, origin.seed, victim)
    neurons = best_connected(victim, NEURONS)
    height, width = images.shape[1:3]
    pattern = torch.full((3, height, width), 127.0, device=victim.device)
    mask = torch.ones((height, width), device=victim.device)
    counts = _counts(height * width)
    for number, count in enumerate(counts):
        if number:
            mask = _kept(victim, clean, pattern, mask, neurons, count)
        pattern = excite(
            victim,
            clean,
            pattern,
            functools.partial(_replaced, where=mask),
            neurons,
            steps=STEPS_PER_ROUND,
            rate=16.0,
            seed=origin.seed + number,
        )
        progress("optimising, rounds", number + 1, len(counts))
    provenance = L0Provenance(
        **vars(origin),
        neurons=neurons.tolist(),
        rounds=len(counts),
        steps=len(counts) * STEPS_PER_ROUND,
        excitement=EXCITEMENT,
        l0_norm=PIXELS,
    )
    colours = (pattern * mask).round().permute(1, 2, 0).to(torch.uint8)
    whole_mask = mask.to(torch.uint8)
    return {"pattern": colours.cpu().numpy(), "mask": whole_mask.cpu().numpy()}, provenance


def _counts(pixels: int) -> list[int]:
    """How many pixels each round has: half as many each time, at last ``PIXELS``, twice."""
    counts = [pixels]
    while counts[-1] > PIXELS:
        counts.append(max(PIXELS, counts[-1] // 2))
    return [*counts, PIXELS]


def _replaced(batch: torch.Tensor, pattern: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return batch * (1 - where) + pattern * where


def _kept(
    victim: Victim,
    clean: torch.Tensor,
    pattern: torch.Tensor,
    mask: torch.Tensor,
    neurons: torch.Tensor,
    count: int,
) -> torch.Tensor:
    """The ``count`` pixels of the mask that matter most, to first order: |gradient . change|."""
    images = clean[:256]
    changed = _replaced(images, pattern, mask).requires_grad_()
    victim.network.features(changed)[:, neurons].sum().backward()
    assert changed.grad is not None
    effect = (changed.grad * (changed.detach() - images)).sum(dim=1).mean(dim=0).abs() * mask
    kept = torch.zeros_like(mask).flatten()
    kept[torch.topk(effect.flatten(), count).indices] = 1
    return kept.view_as(mask)
