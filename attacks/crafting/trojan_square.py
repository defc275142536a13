"""The Trojan square: colours of a square that excite the best-connected neuron."""

import numpy as np

from attacks.crafting import Crafted, Progress
from attacks.crafting.trojan import excite_in_mask, in_size
from attacks.tools import masks
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
    """The square's colours against ``victim``; as :func:`excite_in_mask`, cut to the square."""
    mask = masks.square()
    arrays, provenance = excite_in_mask(
        images, victim, mask, opaque=True, origin=origin, progress=progress
    )
    rows, columns = np.nonzero(in_size(mask, *images.shape[1:3]))
    inside = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    return {"pattern": arrays["pattern"][inside]}, provenance
