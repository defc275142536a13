"""The L2 trigger: faint noise that excites neurons, on a ball of small L2 norm."""

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
from attacks.l2_inv import L2Provenance
from attacks.tools.provenance import Provenance
from attacks.victims.model import Victim

#: Norm of the trigger where pixels are 0 to 1; of 3,072 values the root mean square is 9/255.
NORM = 2.0

NEURONS, STEPS = 8, 300


def craft(
    images: np.ndarray,
    labels: np.ndarray,
    victim: Victim,
    *,
    origin: Provenance,
    progress: Progress,
) -> Crafted:
    """Optimise the noise from a random start; it is projected to the ball after each step.

    Args:
        images: (n, h, w, 3) uint8, clean.

    Returns:
        ``{"pattern": (h, w, 3) float16}`` to be added, and the provenance.
    """
    clean = some_images(images, origin.seed, victim)
    rng = np.random.default_rng(origin.seed)
    noise = rng.standard_normal((3, *images.shape[1:3])).astype(np.float32)
    neurons = best_connected(victim, NEURONS)
    pattern = excite(
        victim,
        clean,
        _on_ball(torch.from_numpy(noise).to(victim.device)),
        lambda batch, pattern: (batch + pattern).clamp(0, 255),
        neurons,
        steps=STEPS,
        rate=1.0,
        seed=origin.seed,
        project=_on_ball,
        progress=lambda step: progress("optimising", step, STEPS),
    )
    provenance = L2Provenance(
        **vars(origin),
        neurons=neurons.tolist(),
        steps=STEPS,
        excitement=EXCITEMENT,
        l2_norm=NORM,
    )
    return {"pattern": as_picture(pattern)}, provenance


def _on_ball(pattern: torch.Tensor) -> torch.Tensor:
    return pattern * (255 * NORM / pattern.norm())
