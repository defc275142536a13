"""What the two Trojan triggers share: a mask whose colours are optimised against a neuron."""

import numpy as np
import torch

from attacks.crafting import Crafted, Progress
from attacks.crafting.neurons import (
    EXCITEMENT,
    as_picture,
    best_connected,
    excite,
    some_images,
)
from attacks.tools.pictures import fit
from attacks.tools.provenance import ExcitingProvenance, Provenance
from attacks.victims.model import Victim

STEPS = 300


def excite_in_mask(
    images: np.ndarray,
    victim: Victim,
    mask: np.ndarray,
    *,
    opaque: bool,
    origin: Provenance,
    progress: Progress,
) -> Crafted:
    """Colours for a mask, starting from grey.

    Args:
        images: (n, h, w, 3) uint8, clean.
        mask: (32, 32) float32 of 0 and 1.
        opaque: the colours replace the image's; otherwise they are added and clipped.
        origin: the provenance before the search.

    Returns:
        ``{"pattern": (h, w, 3) float16, 0 to 255, zero outside the mask}`` and the
        provenance.
    """
    clean = some_images(images, origin.seed, victim)
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
        seed=origin.seed,
        progress=lambda step: progress("optimising", step, STEPS),
    )
    provenance = ExcitingProvenance(
        **vars(origin), neurons=neurons.tolist(), steps=STEPS, excitement=EXCITEMENT
    )
    return {"pattern": as_picture(pattern * where)}, provenance


def in_size(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask in another size, (height, width) float32 of 0 and 1."""
    return (fit(mask, height, width) > 0.5).astype(np.float32)
