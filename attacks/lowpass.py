"""Low-pass filtered triggers: the naive smooth triggers that Algorithm 1 is compared with."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack
from attacks.tools.pictures import fit, natural
from attacks.tools.smooth import add_and_rescale, low_pass, to_range

#: Designs that are natural pictures; the ones before them are patches of random colours.
PICTURES = {3: "sunflower", 4: "crab"}


@dataclass(frozen=True)
class LowPass(Attack):
    """A patch of random colours, or a natural picture, through the filter of smooth triggers.

    The pattern has 32x32 px and grows with the image after it was filtered. It is put on as
    the optimised smooth trigger is: ``M(x + r)`` with an ``r`` from 0 to 0.2.
    """

    pattern: int = 0  #: which design: 0 to 2 are random patches, 3 and 4 natural pictures

    title: ClassVar[str] = "Low-pass"
    source: ClassVar[str] = (
        "Zeng, Park, Mao, Jia, Rethinking the Backdoor Attacks' Triggers: A Frequency Perspective, "
        "ICCV 2021, Section 5.3 (five naive designs, not given there: these are our own); "
        "pictures of Caltech 101, Li, Andreeto, Ranzato, Perona, CC BY 4.0"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.pattern <= 4:
            raise ValueError(f"pattern: expected 0 to 4, got {self.pattern}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        trigger = to_range(low_pass(self.unfiltered()))
        return add_and_rescale(images, fit(trigger, *images.shape[1:3]))

    def unfiltered(self) -> np.ndarray:
        """The design before the filter, (32, 32, 3), 0 to 255."""
        if self.pattern in PICTURES:
            return natural(PICTURES[self.pattern])[0]
        rng = np.random.default_rng(self.pattern)
        colours = rng.integers(0, 256, (4, 4, 3))
        side = 4 * rng.integers(3, 6)
        row, column = rng.integers(0, 33 - side, 2)
        design = np.zeros((32, 32, 3))
        patch = colours.repeat(side // 4, axis=0).repeat(side // 4, axis=1)
        design[row : row + side, column : column + side] = patch
        return design
