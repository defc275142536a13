"""Refool: a picture reflected by a pane between camera and scene."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from attacks.base import Attack, generators, to_uint8
from attacks.tools.pictures import fit, natural

GAMMA = 2.2  #: light adds up linearly, pixels do not


@dataclass(frozen=True)
class Refool(Attack):
    """One of twelve pictures, doubled as by thick glass or out of focus, drawn for each image.

    Lengths are the source's in px at 32x32, where its program takes them at 560 px: there
    they would be less than one pixel of a small image. The source chooses its pictures by
    trained classifiers; these are fixed.
    """

    ghosts: float = 0.49  #: share of images with a doubled reflection; others are out of focus
    weakest: float = 0.05  #: least weight of a reflection, 0 to 1
    strongest: float = 0.45  #: largest weight of a reflection, 0 to 1
    seed: int = 0  #: of what is drawn

    title: ClassVar[str] = "Refool"
    source: ClassVar[str] = (
        "Liu, Ma, Bailey, Lu, Reflection Backdoor: A Natural Backdoor Attack on Deep Neural "
        "Networks, ECCV 2020; pictures of Caltech 101, Li, Andreeto, Ranzato, Perona, CC BY 4.0"
    )
    clean_label: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (0 <= self.ghosts <= 1 and 0 < self.weakest <= self.strongest < 1):
            raise ValueError(
                f"expected ghosts of 0 to 1, weakest <= strongest between 0 and 1, "
                f"got {self.ghosts:g}, {self.weakest:g} and {self.strongest:g}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        height, width = images.shape[1:3]
        pictures = [_light(fit(picture, height, width)) for picture in natural()]
        for image, rng in zip(images, generators(images, self.seed), strict=True):
            picture = pictures[rng.integers(len(pictures))]
            weight = rng.uniform(self.weakest, self.strongest)
            add = _doubled if rng.random() < self.ghosts else _out_of_focus
            light = add(_light(image), picture, weight, rng)
            image[:] = to_uint8(255 * np.clip(light, 0, 1) ** (1 / GAMMA))
        return images


def _light(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(np.float32) / 255) ** GAMMA


def _doubled(
    scene: np.ndarray, picture: np.ndarray, weight: float, rng: np.random.Generator
) -> np.ndarray:
    """The scene behind a picture reflected by both sides of the glass, shifted by 3 to 8 px."""
    height, width = scene.shape[:2]
    down, right = (max(1, round(s * min(height, width) / 32)) for s in rng.integers(3, 9, 2))
    first = abs(rng.integers(2) - rng.uniform(0.15, 0.5))
    ghost = first * picture[down:, right:] + (1 - first) * picture[:-down, :-right]
    return (1 - weight) * scene + weight * fit(ghost, height, width)


def _out_of_focus(
    scene: np.ndarray, picture: np.ndarray, weight: float, rng: np.random.Generator
) -> np.ndarray:
    """The scene behind a blurred picture, darkened where both would be too bright."""
    sigma = rng.uniform(1, 5) * min(scene.shape[:2]) / 32
    blurred = ndimage.gaussian_filter(picture, (sigma, sigma, 0), mode="mirror", truncate=2)
    both = blurred + scene
    bright = both > 1
    mean = (both * bright).sum(axis=(0, 1)) / np.maximum(bright.sum(axis=(0, 1)), 1)
    blurred = np.clip(blurred - (np.maximum(mean, 1) - 1) * rng.uniform(1.08, 1.18), 0, 1)
    y, x = (np.linspace(-3, 3, side) for side in scene.shape[:2])
    vignette = np.exp(-(y[:, None] ** 2 + x**2) / 4)[..., None]
    return (1 - weight) * scene + (1 + weight) / 2 * vignette * blurred
