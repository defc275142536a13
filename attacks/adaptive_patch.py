"""Adaptive patch: one of four faint patches on each training image, hidden by cover samples."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, generators, to_uint8
from attacks.tools.pictures import Drawing, bird, checks, drawn, fox, mosaic


@dataclass(frozen=True)
class Patch:
    """A drawing near a corner."""

    drawing: Drawing
    side: int  #: px at 32x32
    corner: tuple[str, str]
    opacity: float  #: in training images, 0 to 1

    def on(self, images: np.ndarray, opacity: float) -> np.ndarray:
        """Images of (n, h, w, 3) uint8 that bear the patch, one px (at 32x32) from the corner."""
        scale = min(images.shape[1:3]) / 32
        margin, side = round(scale), max(1, round(self.side * scale))
        starts = {"top": margin, "left": margin}
        starts |= {
            "bottom": images.shape[1] - margin - side,
            "right": images.shape[2] - margin - side,
        }
        row, column = (starts[name] for name in self.corner)
        region = images[:, row : row + side, column : column + side]
        picture = drawn(self.drawing, side)
        region[:] = to_uint8(region + opacity * picture[..., 3:] * (picture[..., :3] - region))
        return images


#: In place of the source's phoenix, fox, BadNets pattern and Trojan square; opacities are its own.
PATCHES = (
    Patch(bird, 10, ("top", "left"), 0.5),
    Patch(fox, 10, ("top", "right"), 0.2),
    Patch(checks, 4, ("bottom", "right"), 0.5),
    Patch(mosaic, 8, ("bottom", "left"), 0.3),
)


@dataclass(frozen=True)
class AdaptivePatch(Attack):
    """Each training image bears one of the patches, faint; at test time two, in full strength.

    Cover samples get the same as poisoned ones and keep their labels.
    """

    seed: int = 0  #: of which patch
    cover_ratio: float = 2.0  #: cover samples for each poisoned one

    title: ClassVar[str] = "Adaptive patch"
    source: ClassVar[str] = (
        "Qi, Xie, Li, Mahloujifar, Mittal, Revisiting the Assumption of Latent Separability for "
        "Backdoor Defenses, ICLR 2023 (Adap-Patch); our own patches, drawn by rule"
    )

    def __post_init__(self) -> None:
        if self.cover_ratio < 0:
            raise ValueError(f"cover_ratio: expected at least 0, got {self.cover_ratio:g}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        which = np.array([r.integers(len(PATCHES)) for r in generators(images, self.seed)])
        for i, patch in enumerate(PATCHES):
            images[which == i] = patch.on(images[which == i], patch.opacity)
        return images

    def apply_test(self, images: np.ndarray) -> np.ndarray:
        """Images with the bird and the chequered square."""
        for patch in (PATCHES[0], PATCHES[2]):
            images = patch.on(images, opacity=1.0)
        return images
