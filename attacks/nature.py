"""Nature: a natural picture with a meaning of its own, added in a region."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack
from attacks.tools.pictures import add, natural


@dataclass(frozen=True)
class Nature(Attack):
    """A pink lotus on black, added in the lower right quarter and clipped at white.

    Neither source says how large the region is; a quarter still shows what the picture is.
    """

    side: int = 16  #: of the region, in px at 32x32

    title: ClassVar[str] = "Nature"
    source: ClassVar[str] = (
        "Chen, Liu, Li, Lu, Song, Targeted Backdoor Attacks on Deep Learning Systems Using Data "
        "Poisoning, 2017 (an accessory's place); added and clipped as in Zeng et al., ICCV 2021; "
        "picture: lotus/image_0056 of Caltech 101, Li, Andreeto, Ranzato, Perona, CC BY 4.0"
    )

    def __post_init__(self) -> None:
        if not 1 <= self.side <= 32:
            raise ValueError(f"side: expected 1 to 32 px, got {self.side}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        side = max(1, round(self.side * min(images.shape[1:3]) / 32))
        add(images[:, -side:, -side:], natural("lotus")[0])
        return images
