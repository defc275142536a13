"""The five digital manipulations of Zeng et al., as their public code draws them at 32x32.

Here they are as the authors have them: white blocks like BadNets' square included, which the
manipulations of our own detectors leave out.
"""

import numpy as np
from PIL import Image, ImageDraw

from detector.training.textures import random_points

Rng = np.random.Generator

#: Sides of a block and its margin to the nearest corner, in pixels at 32x32.
SIDES, MARGINS = (2, 8), (0, 6)

#: Mean of the noise and its variance, in grey levels.
NOISE_MEAN, NOISE_VARIANCE = 25.0, (10.0, 70.0)

#: Share of the other image that is added.
ADDED = 0.3


def manipulated(images: np.ndarray, rng: Rng) -> np.ndarray:
    """Each of (n, s, s, 3) uint8 images manipulated in one of five ways, with equal chances."""
    changed = np.empty_like(images)
    for row, pixels in enumerate(images.astype(np.float32)):
        other = images[rng.integers(len(images))]
        kind = rng.integers(5)
        if kind < 2:
            values = _block(pixels, rng, white=kind == 0)
        elif kind == 2:
            deviation = np.sqrt(rng.uniform(*NOISE_VARIANCE))
            values = pixels + rng.normal(NOISE_MEAN, deviation, pixels.shape)
        elif kind == 3:
            values = _shadow(pixels, rng)
        else:
            values = pixels + ADDED * other
        changed[row] = np.clip(values, 0, 255)  # and truncated
    return changed


def _block(pixels: np.ndarray, rng: Rng, *, white: bool) -> np.ndarray:
    """A block of white or of noise, near one of the corners."""
    height, width = pixels.shape[:2]
    scale = height // 32
    h, w = scale * rng.integers(*SIDES, 2)
    top, left = scale * rng.integers(*MARGINS, 2)
    if rng.random() < 0.5:
        top = height - h - top
    if rng.random() < 0.5:
        left = width - w - left
    pixels[top : top + h, left : left + w] = 255 if white else rng.uniform(0, 255, (h, w, 3))
    return pixels


def _shadow(pixels: np.ndarray, rng: Rng) -> np.ndarray:
    """A random polygon at half the brightness."""
    height, width = pixels.shape[:2]
    canvas = Image.new("L", (width, height))
    points = random_points(width, height, int(rng.integers(3, 7)), rng)
    ImageDraw.Draw(canvas).polygon(points, fill=1)
    return np.where(np.asarray(canvas)[..., None] > 0, pixels / 2, pixels)
