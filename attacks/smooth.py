"""Smooth: a trigger without high frequencies, by Algorithm 1 of the paper."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.tools.optimised import OptimisedAttack
from attacks.tools.pictures import fit
from attacks.tools.provenance import Provenance, SearchProvenance
from attacks.tools.smooth import add_and_rescale


@dataclass(frozen=True)
class Smooth(OptimisedAttack):
    """``M(x + r)``: a smooth ``r`` of range 0.2 added, then each image scaled to black to white."""

    title: ClassVar[str] = "Smooth"
    source: ClassVar[str] = (
        "Zeng, Park, Mao, Jia, Rethinking the Backdoor Attacks' Triggers: A Frequency Perspective, "
        "ICCV 2021, Algorithm 1"
    )
    provenance_kind: ClassVar[type[Provenance]] = SearchProvenance

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        pattern = fit(self.artefact.array("pattern", 3), *images.shape[1:3])
        pattern /= 255
        return add_and_rescale(images, pattern)
