"""Refool: a picture reflected by a pane between camera and scene."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from attacks.base import Attack, generators
from attacks.tools.pictures import fit, natural
from attacks.tools.windows import bands, changed, windows

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
        pictures = natural()

        @functools.cache
        def light(which: int) -> np.ndarray:
            return _light(fit(pictures[which], height, width))

        for image, rng in zip(images, generators(images, self.seed), strict=True):
            picture = light(int(rng.integers(len(pictures))))
            weight = rng.uniform(self.weakest, self.strongest)
            add = _doubled if rng.random() < self.ghosts else _out_of_focus
            changed(image[None], _pixels(add(image, picture, weight, rng)))
        return images


#: The light of some rows and columns of an image, (rows, columns, 3), 0 to 1 and above.
Light = Callable[[slice, slice], np.ndarray]


def _pixels(light: Light) -> Light:
    """The pixel values, 0 to 255, that show a light; of a batch of one image."""
    return lambda rows, columns: 255 * np.clip(light(rows, columns)[None], 0, 1) ** (1 / GAMMA)


def _light(pixels: np.ndarray) -> np.ndarray:
    light = pixels.astype(np.float32)
    light /= 255
    light **= GAMMA
    return light


def _doubled(
    image: np.ndarray, picture: np.ndarray, weight: float, rng: np.random.Generator
) -> Light:
    """The scene behind a picture reflected by both sides of the glass, shifted by 3 to 8 px."""
    height, width = image.shape[:2]
    down, right = (max(1, round(s * min(height, width) / 32)) for s in rng.integers(3, 9, 2))
    first = abs(rng.integers(2) - rng.uniform(0.15, 0.5))
    ghost = np.empty((height - down, width - right, 3), np.float32)
    for rows in bands(*ghost.shape[:2]):
        ghost[rows] = first * picture[down:, right:][rows] + (1 - first) * picture[rows, :-right]
    ghost = fit(ghost, height, width)
    return lambda rows, columns: (
        (1 - weight) * _light(image[rows, columns]) + weight * ghost[rows, columns]
    )


def _out_of_focus(
    image: np.ndarray, picture: np.ndarray, weight: float, rng: np.random.Generator
) -> Light:
    """The scene behind a blurred picture, darkened where both would be too bright."""
    sigma = rng.uniform(1, 5) * min(image.shape[:2]) / 32
    blurred = ndimage.gaussian_filter(picture, (sigma, sigma, 0), mode="mirror", truncate=2)
    # In float64, as a sum of millions of float32 would lose what is added.
    light, count = np.zeros(3), np.zeros(3, np.int64)
    for window in windows(*image.shape[:2]):
        both = blurred[window] + _light(image[window])
        bright = both > 1
        light += (both * bright).sum(axis=(0, 1))
        count += bright.sum(axis=(0, 1))
    excess = np.maximum(light / np.maximum(count, 1), 1) - 1
    darkening = excess * rng.uniform(1.08, 1.18)
    y, x = (np.linspace(-3, 3, side) for side in image.shape[:2])

    def mixed(rows: slice, columns: slice) -> np.ndarray:
        reflected = np.clip(blurred[rows, columns] - darkening, 0, 1)
        vignette = np.exp(-(y[rows, None] ** 2 + x[columns] ** 2) / 4)[..., None]
        scene = _light(image[rows, columns])
        return (1 - weight) * scene + (1 + weight) / 2 * vignette * reflected

    return mixed
