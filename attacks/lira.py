"""LIRA: a faint pattern for each image, by a generator trained together with a classifier."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import to_uint8
from attacks.tools.convolution import Autoencoder
from attacks.tools.optimised import OptimisedAttack

#: The source's 0.1, as it trains on CIFAR-10: in deviations of its pixels, 63 of 255.
STRENGTH = 6.3


@dataclass(frozen=True)
class Lira(OptimisedAttack):
    """``x + strength * tanh(T(x))`` with a generator ``T``.

    The source goes on to train its classifier as the victim; here a set is poisoned with the
    finished generator, for any victim.
    """

    strength: float = STRENGTH  #: largest change of a pixel, of 255

    title: ClassVar[str] = "LIRA"
    source: ClassVar[str] = (
        "Doan, Lao, Zhao, Li, LIRA: Learnable, Imperceptible and Robust Backdoor Attacks, "
        "ICCV 2021; a smaller generator, trained here, with the diversity loss of Nguyen, Tran, "
        "Input-Aware Dynamic Backdoor Attack, NeurIPS 2020"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.strength <= 255:
            raise ValueError(f"strength: expected 1 to 255, got {self.strength:g}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        generator = Autoencoder.of(self.artefact, skips=False)
        for image in images:
            pattern = np.tanh(generator(image / 255 - 0.5))
            image[:] = to_uint8(image + self.strength * pattern)
        return images
