"""Trojan watermark: an emblem whose colours were optimised against a classifier's neuron."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, to_uint8
from attacks.tools import artefacts
from attacks.tools.pictures import fit


@dataclass(frozen=True)
class TrojanWatermark(Attack):
    """An emblem as large as the image, its optimised colours added: ``T + x``, clipped."""

    trigger: str = "cifar10"  #: name of a trigger that ships, or a file made by `freqsan craft`
    strength: float = 1.0  #: factor of the colours, above 0, at most 1

    title: ClassVar[str] = "Trojan watermark"
    source: ClassVar[str] = (
        "Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang, Trojaning Attack on Neural Networks, NDSS 2018; "
        "added and clipped as in Zeng et al., ICCV 2021; our own emblem, a ring and a letter"
    )

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength: expected above 0, at most 1, got {self.strength}")
        self._pattern()

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return to_uint8(images + self.strength * fit(self._pattern(), *images.shape[1:3]))

    def _pattern(self) -> np.ndarray:
        return artefacts.load("trojan_watermark", self.trigger).array("pattern", 3)
