"""Trojan watermark: an emblem whose colours were optimised against a classifier's neuron."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.tools.optimised import OptimisedAttack
from attacks.tools.pictures import add
from attacks.tools.provenance import ExcitingProvenance, Provenance


@dataclass(frozen=True)
class TrojanWatermark(OptimisedAttack):
    """An emblem as large as the image, its optimised colours added: ``T + x``, clipped."""

    trigger: str = "cifar10"  #: name of a trigger that ships, or a file made by `freqsan craft`
    strength: float = 1.0  #: factor of the colours, above 0, at most 1

    title: ClassVar[str] = "Trojan watermark"
    source: ClassVar[str] = (
        "Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang, Trojaning Attack on Neural Networks, NDSS 2018; "
        "added and clipped as in Zeng et al., ICCV 2021; our own emblem, a ring and a letter"
    )
    provenance_kind: ClassVar[type[Provenance]] = ExcitingProvenance

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength: expected above 0, at most 1, got {self.strength}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return add(images, self.artefact.array("pattern", 3), self.strength)
