"""LF: the smooth trigger as benchmarks use it, added and clipped."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.tools.optimised import OptimisedAttack
from attacks.tools.pictures import add
from attacks.tools.provenance import Provenance, SearchProvenance


@dataclass(frozen=True)
class LF(OptimisedAttack):
    """A low-frequency universal perturbation, searched by Algorithm 1 without the scaler."""

    title: ClassVar[str] = "LF"
    source: ClassVar[str] = (
        "Zeng et al., ICCV 2021, in the additive form of BackdoorBench (Wu et al., NeurIPS 2022), "
        "which calls it LF"
    )
    provenance_kind: ClassVar[type[Provenance]] = SearchProvenance

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return add(images, self.artefact.array("pattern", 3))
