"""The LF trigger: Algorithm 1 with clipping in the place of the min-max scaler."""

from typing import Any

import numpy as np
import torch

from attacks.crafting.neurons import Progress
from attacks.crafting.smooth import search
from attacks.victims.model import Victim


def craft(
    images: np.ndarray, labels: np.ndarray, victim: Victim, *, seed: int, progress: Progress
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Search an additive smooth trigger; arguments and result as :func:`search`."""
    return search(images, victim, _clip, seed=seed, progress=progress)


def _clip(images: torch.Tensor, trigger: torch.Tensor) -> torch.Tensor:
    return (images + trigger).clamp(0, 255)
