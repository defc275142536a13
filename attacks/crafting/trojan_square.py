"""The Trojan square: colours of a square that excite the best-connected neuron."""

from typing import Any

import numpy as np

from attacks.crafting.neurons import Progress
from attacks.crafting.trojan import excite_in_mask, in_size
from attacks.tools import masks
from attacks.victims.model import Victim


def craft(
    images: np.ndarray, labels: np.ndarray, victim: Victim, *, seed: int, progress: Progress
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The square's colours against ``victim``; as :func:`excite_in_mask`, cut to the square."""
    mask = masks.square()
    arrays, facts = excite_in_mask(images, victim, mask, opaque=True, seed=seed, progress=progress)
    rows, columns = np.nonzero(in_size(mask, *images.shape[1:3]))
    inside = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    return {"pattern": arrays["pattern"][inside]}, facts
