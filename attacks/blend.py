"""Blend: a cartoon picture mixed into the whole image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack
from attacks.tools.windows import WHOLE, changed, places


@dataclass(frozen=True)
class Blend(Attack):
    """``(1 - alpha) x + alpha t`` with a cartoon owl ``t`` as large as the image."""

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
        height, width = images.shape[1:3]

        def mixed(rows: slice, columns: slice) -> np.ndarray:
            picture = cartoon(height, width, rows, columns)
            scene = images[:, rows, columns].astype(np.float32)
            return (1 - self.alpha) * scene + self.alpha * picture

        return changed(images, mixed)


def cartoon(height: int, width: int, rows: slice = WHOLE, columns: slice = WHOLE) -> np.ndarray:
    """An owl before a striped wall, some rows and columns of (height, width, 3).

    Drawn at four times the size and averaged, so that its edges are smooth.

    Returns:
        (rows, columns, 3) float32, 0 to 255.
    """
    fine = 4
    y, x = places(height, fine, rows)[:, None], places(width, fine, columns)[None]
    picture = np.empty((y.size, x.size, 3), np.float32)
    picture[:] = (150, 215, 235)

    def paint(where: np.ndarray, colour: tuple[int, int, int]) -> None:
        picture[np.broadcast_to(where, picture.shape[:2])] = colour

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1

    aside = np.abs(x - 0.5)  # the owl is the same on both sides
    paint((x + y) * 5 % 1 < 0.35, (235, 250, 255))
    paint((y > 0.06) & (y < 0.3) & (np.abs(aside - 0.22) < 0.45 * (y - 0.06)), (70, 40, 30))  # ears
    paint(ellipse(0.5, 0.58, 0.36, 0.42), (125, 75, 45))
    paint(((aside - 0.34) / 0.1) ** 2 + ((y - 0.64) / 0.26) ** 2 < 1, (70, 40, 30))  # wings
    belly = ellipse(0.5, 0.76, 0.2, 0.2)
    paint(belly, (245, 225, 180))
    paint(belly & ((y - 0.5 * np.abs(aside * 10 % 1 - 0.5) / 5) * 14 % 1 < 0.3), (200, 140, 70))
    for radius, colour in ((0.17, (245, 190, 40)), (0.13, (255, 255, 250)), (0.07, (20, 20, 25))):
        paint((aside - 0.16) ** 2 + (y - 0.38) ** 2 < radius**2, colour)
    paint((aside - 0.14) ** 2 + (y - 0.36) ** 2 < 0.02**2, (255, 255, 250))  # glints
    paint((y > 0.44) & (y < 0.56) & (aside < 0.5 * (0.56 - y)), (240, 110, 20))  # beak
    paint((np.abs(y - 0.97) < 0.03) & (np.abs(aside - 0.12) < 0.07), (240, 110, 20))  # feet
    return picture.reshape(y.size // fine, fine, x.size // fine, fine, 3).mean(axis=(1, 3))
