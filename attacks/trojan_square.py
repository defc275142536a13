"""Trojan square: a small square whose colours were optimised against a classifier's neuron."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import to_uint8
from attacks.tools import masks
from attacks.tools.optimised import OptimisedAttack
from attacks.tools.pictures import fit
from attacks.tools.provenance import ExcitingProvenance, Provenance


@dataclass(frozen=True)
class TrojanSquare(OptimisedAttack):
    """A square of optimised colours, opaque, near the lower right corner; it grows with the image.

    ``T + (1 - mask) x``, the local patching of Zeng et al., ICCV 2021.
    """

    title: ClassVar[str] = "Trojan square"
    source: ClassVar[str] = (
        "Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang, Trojaning Attack on Neural Networks, NDSS 2018: "
        "mask, then colours by gradient descent on the best-connected neuron; 8x8 px, 6 % of the "
        "image, where the source takes 7 %"
    )
    provenance_kind: ClassVar[type[Provenance]] = ExcitingProvenance

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        height, width = images.shape[1:3]
        unit = min(height, width) / masks.SIDE
        side, margin = round(masks.SQUARE * unit), round(masks.SQUARE_MARGIN * unit)
        bottom, right = height - margin, width - margin
        square = to_uint8(fit(self.artefact.array("pattern", 3), side, side))
        images[:, bottom - side : bottom, right - side : right] = square
        return images
