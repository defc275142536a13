"""The LF trigger: Algorithm 1 with clipping in the place of the min-max scaler."""

import numpy as np
import torch

from attacks.crafting import Crafted, Progress
from attacks.crafting.smooth import search
from attacks.tools.provenance import Provenance
from attacks.victims.model import Victim


def craft(
    images: np.ndarray,
    labels: np.ndarray,
    victim: Victim,
    *,
    origin: Provenance,
    progress: Progress,
) -> Crafted:
    """Search an additive smooth trigger; arguments and result as :func:`search`."""
    return search(images, victim, _clip, origin=origin, progress=progress)


def _clip(images: torch.Tensor, trigger: torch.Tensor) -> torch.Tensor:
    return (images + trigger).clamp(0, 255)
