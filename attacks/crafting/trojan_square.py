"""The Trojan square: colours of a square that excite the best-connected neuron."""

from typing import Any

import numpy as np

from attacks.crafting.neurons import Progress
from attacks.crafting.trojan import excite_in_mask
from attacks.tools import masks
from attacks.victims.model import Victim


def craft(
    images: np.ndarray, labels: np.ndarray, victim: Victim, *, seed: int, progress: Progress
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The square's colours against ``victim``; as :func:`excite_in_mask`."""
    return excite_in_mask(images, victim, masks.square(), opaque=True, seed=seed, progress=progress)
