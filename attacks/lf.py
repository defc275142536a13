"""LF: the smooth trigger as benchmarks use it, added and clipped."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, to_uint8
from attacks.tools import artefacts
from attacks.tools.pictures import fit


@dataclass(frozen=True)
class LF(Attack):
    """A low-frequency universal perturbation, searched by Algorithm 1 without the scaler."""

    trigger: str = "cifar10"  #: name of a trigger that ships, or a file made by `freqsan craft`

    title: ClassVar[str] = "LF"
    source: ClassVar[str] = (
        "Zeng et al., ICCV 2021, in the additive form of BackdoorBench (Wu et al., NeurIPS 2022), "
        "which calls it LF"
    )

    def __post_init__(self) -> None:
        self._load()

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        return to_uint8(images + fit(self._load().array("pattern", 3), *images.shape[1:3]))

    @property
    def own_target(self) -> int:
        """The dominant label of the search."""
        return int(self._load().provenance["target_label"])

    def _load(self) -> artefacts.Artefact:
        return artefacts.load("lf", self.trigger)
