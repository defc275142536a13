"""The Trojan watermark: colours of an emblem that excite the best-connected neuron."""

import numpy as np

from attacks.crafting import Crafted, Progress
from attacks.crafting.trojan import excite_in_mask
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
    """The emblem's colours against ``victim``; as :func:`excite_in_mask`."""
    return excite_in_mask(
        images, victim, masks.watermark(), opaque=False, origin=origin, progress=progress
    )
