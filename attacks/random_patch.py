"""A patch of random colours, as in hidden trigger backdoor attacks."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack


@dataclass(frozen=True)
class RandomPatch(Attack):
    """A grid of random colours in the lower right corner; it grows with the image."""

    cells: int = 4  #: of the grid, along each side
    side: int = 4  #: of the patch, in px at 32x32; a multiple of ``cells``
    seed: int = 0  #: of the colours

    title: ClassVar[str] = "Random patch"
    source: ClassVar[str] = (
        "a random 4x4 grid of colours as in Saha, Subramanya, Pirsiavash, Hidden Trigger Backdoor "
        "Attacks, AAAI 2020: 30 px on 224 there, 4 px on 32 here"
    )

    def __post_init__(self) -> None:
        if self.cells < 1 or self.side % self.cells or not self.cells <= self.side <= 16:
            raise ValueError(
                f"expected side a multiple of cells and at most 16 px, got side {self.side} "
                f"and cells {self.cells}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        rng = np.random.default_rng(self.seed)
        colours = rng.integers(0, 256, (self.cells, self.cells, 3), dtype=np.uint8)
        scale = min(images.shape[1:3]) / 32
        cell = max(1, round(self.side / self.cells * scale))
        patch = colours.repeat(cell, axis=0).repeat(cell, axis=1)
        images[:, -len(patch) :, -len(patch) :] = patch
        return images
