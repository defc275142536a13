"""What the two Trojan triggers share: a mask whose colours are optimised against a neuron."""

from typing import Any

import numpy as np
import torch

from attacks.crafting.neurons import (
    EXCITEMENT,
    Progress,
    as_picture,
    best_connected,
    excite,
    some_images,
)
from attacks.tools.pictures import fit
from attacks.victims.model import Victim

STEPS = 300


def excite_in_mask(
    images: np.ndarray,
    victim: Victim,
    mask: np.ndarray,
    *,
    opaque: bool,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Colours for a mask, starting from grey.

    Args:
        images: (n, h, w, 3) uint8, clean.
        mask: (32, 32) float32 of 0 and 1.
        opaque: the colours replace the image's; otherwise they are added and clipped.
        progress: called with what is being done, the steps done and the steps in all.

    Returns:
        ``{"pattern": (h, w, 3) float16, 0 to 255, zero outside the mask}`` and facts.
    """
    clean = some_images(images, seed, victim)
    height, width = images.shape[1:3]
    where = torch.from_numpy(in_size(mask, height, width)).to(victim.device)

    def put(batch: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
        kept = batch * (1 - where) if opaque else batch
        return (kept + pattern * where).clamp(0, 255)

    neurons = best_connected(victim, 1)
    pattern = excite(
        victim,
        clean,
        torch.full((3, height, width), 127.0, device=victim.device),
        put,
        neurons,
        steps=STEPS,
        seed=seed,
        progress=lambda step: progress("optimising", step, STEPS),
    )
    facts = {"neurons": neurons.tolist(), "steps": STEPS, "excitement": EXCITEMENT}
    return {"pattern": as_picture(pattern * where)}, facts


def in_size(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask in another size, (height, width) float32 of 0 and 1."""
    return (fit(mask, height, width) > 0.5).astype(np.float32)
