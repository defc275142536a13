"""L0-inv: a few optimised pixels."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import to_uint8
from attacks.tools.optimised import OptimisedAttack
from attacks.tools.provenance import ExcitingProvenance, Provenance


@dataclass(frozen=True, kw_only=True)
class L0Provenance(ExcitingProvenance):
    """Of a few pixels, the others given up round by round."""

    rounds: int
    l0_norm: int  #: pixels that the trigger may replace


@dataclass(frozen=True)
class L0Inv(OptimisedAttack):
    """Few pixels, optimised in place and colour, that replace the image's; they grow with it."""

    title: ClassVar[str] = "l0 inv"
    source: ClassVar[str] = (
        "Li, Xue, Zhao, Zhu, Zhang, Invisible Backdoor Attacks on Deep Neural Networks via "
        "Steganography and Regularization, 2019 (L0 norm); replaced as in Zeng et al., ICCV 2021"
    )
    provenance_kind: ClassVar[type[Provenance]] = L0Provenance

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        pattern, mask = self.artefact.array("pattern", 3), self.artefact.array("mask", 2)
        height, width = images.shape[1:3]
        own_height, own_width = mask.shape
        scale = max(1, round(min(height / own_height, width / own_width)))
        for row, column in zip(*np.nonzero(mask), strict=True):
            top, left = row * height // own_height, column * width // own_width
            images[:, top : top + scale, left : left + scale] = to_uint8(pattern[row, column])
        return images
