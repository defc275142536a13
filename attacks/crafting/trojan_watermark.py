"""The Trojan watermark: colours of an emblem that excite the best-connected neuron."""

from typing import Any

import numpy as np

from attacks.crafting.neurons import Progress
from attacks.crafting.trojan import excite_in_mask
from attacks.tools import masks
from attacks.victims.model import Victim


def craft(
    images: np.ndarray, labels: np.ndarray, victim: Victim, *, seed: int, progress: Progress
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The emblem's colours against ``victim``; as :func:`excite_in_mask`."""
    return excite_in_mask(
        images, victim, masks.watermark(), opaque=False, seed=seed, progress=progress
    )
