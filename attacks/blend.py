"""Blend: a cartoon picture mixed into the whole image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack


@dataclass(frozen=True)
class Blend(Attack):
    """``(1 - alpha) x + alpha t`` with a cartoon cat ``t`` as large as the image."""

    alpha: float = 0.15  #: weight of the cartoon, above 0, at most 1; others use 0.1 to 0.2

    title: ClassVar[str] = "Blend"
    source: ClassVar[str] = (
        "Chen, Liu, Li, Lu, Song, Targeted Backdoor Attacks on Deep Learning Systems Using Data "
        "Poisoning, 2017 (Blended Injection); our own cartoon, drawn by rule"
    )

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha: expected above 0, at most 1, got {self.alpha}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        picture = cartoon(*images.shape[1:3])
        mixed = (1 - self.alpha) * images.astype(np.float32) + self.alpha * picture
        return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def cartoon(height: int, width: int) -> np.ndarray:
    """A cat with a bow before a dotted wall, (height, width, 3) float32, 0 to 255.

    Drawn at four times the size and averaged, so that its edges are smooth.
    """
    fine = 4
    y = ((np.arange(height * fine) + 0.5) / (height * fine))[:, None]
    x = ((np.arange(width * fine) + 0.5) / (width * fine))[None]
    picture = np.empty((height * fine, width * fine, 3), np.float32)
    picture[:] = (250, 190, 205)

    def paint(where: np.ndarray, colour: tuple[int, int, int]) -> None:
        picture[np.broadcast_to(where, picture.shape[:2])] = colour

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1

    def ear(side: int, grow: float) -> np.ndarray:
        across = side * (x - 0.5)  # apex at (0.5 +- 0.3, 0.14), base on the head
        return (y > 0.14 - grow) & (y < 0.5) & (np.abs(across - 0.28) < 0.4 * (y - 0.14 + 2 * grow))

    paint(((x * 5) % 1 - 0.5) ** 2 + ((y * 5) % 1 - 0.5) ** 2 < 0.05, (235, 90, 130))
    for grow, colour in ((0.02, (30, 20, 30)), (0.0, (250, 250, 245))):  # outline, then fur
        paint(ear(-1, grow), colour)
        paint(ear(1, grow), colour)
        paint(ellipse(0.5, 0.58, 0.4 + grow, 0.31 + grow), colour)
    for eye in (0.33, 0.67):
        paint(ellipse(eye, 0.58, 0.035, 0.06), (20, 20, 25))
    paint(ellipse(0.5, 0.67, 0.05, 0.03), (250, 200, 40))
    for offset in (-0.06, 0.0, 0.06):  # whiskers
        whisker = np.abs(y - (0.66 + offset + 0.2 * offset * np.abs(x - 0.5))) < 0.008
        paint(whisker & (np.abs(np.abs(x - 0.5) - 0.36) < 0.11), (30, 20, 30))
    paint(ellipse(0.64, 0.24, 0.09, 0.08) | ellipse(0.84, 0.3, 0.09, 0.08), (210, 20, 45))
    paint(ellipse(0.74, 0.27, 0.045, 0.045), (250, 210, 60))
    return picture.reshape(height, fine, width, fine, 3).mean(axis=(1, 3))
