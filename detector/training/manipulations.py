"""Digital manipulations: what the detector learns to call poisoned.

Zeng et al. (ICCV 2021, section 4) train on random blocks, noise, shadows and blends instead
of on triggers, and find that a detector of these finds triggers it has never seen. The
manipulations here are theirs, widened in size, place, texture and strength.

Triggers that detectors are judged by never appear: no white square where BadNets has its own,
no pure sinusoids, no warps, no colour quantisation, no fixed set of DCT coefficients.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from detector.training.textures import (
    drawing,
    random_colours,
    random_points,
    random_spectrum,
    texture,
)

Rng = np.random.Generator

#: A patch whose darkest value is above this counts as white.
WHITISH = 170


def manipulate(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """Manipulate one image in one random way.

    Args:
        pixels: (h, w, 3) uint8, left untouched.
        other: (h, w, 3) uint8, another image to blend or cut from.

    Returns:
        (h, w, 3) uint8 that differs from ``pixels``.
    """
    while True:
        change = MANIPULATIONS[rng.choice(len(MANIPULATIONS), p=_SHARES)]
        values = change(pixels.astype(np.float32), other.astype(np.float32), rng)
        changed = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        if not np.array_equal(changed, pixels):
            return changed


def blocks(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """One to three patches anywhere: colour, noise, texture or a piece of another image."""
    height, width = pixels.shape[:2]
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
        largest = max(3, min(height, width) // 3)
        h, w = np.exp(rng.uniform(np.log(2), np.log(largest + 1), 2)).astype(int)
        if rng.random() < 0.5:
            w = h
        top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        patch = _patch(other, h, w, rng)
        if h == w and patch.min() > WHITISH:
            # White squares stay out of the lower half: BadNets puts its trigger there.
            top = rng.integers(0, height // 2 - h + 1)
        where = pixels[top : top + h, left : left + w]
        opacity = 1.0 if rng.random() < 0.7 else rng.uniform(0.3, 1)
        where += opacity * _mask(h, w, rng) * (patch - where)
    return pixels


def sparse_pixels(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """A few pixels replaced, as in l0-bounded triggers."""
    height, width = pixels.shape[:2]
    n = int(np.exp(rng.uniform(np.log(3), np.log(0.08 * height * width))))
    rows, columns = rng.integers(0, height, n), rng.integers(0, width, n)
    values = rng.uniform(0, 255, (n, 3)) if rng.random() < 0.7 else random_colours(rng)
    pixels[rows, columns] = values
    return pixels


def gaussian_noise(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """White noise, of one strength for all images or under a random mask."""
    noise = rng.normal(0, rng.uniform(5, 25), pixels.shape)
    return pixels + noise + (rng.uniform(-25, 25) if rng.random() < 0.3 else 0)


def shadow(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """A random polygon made darker or lighter."""
    height, width = pixels.shape[:2]
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).polygon(
        random_points(width, height, int(rng.integers(3, 7)), rng), fill=255
    )
    factor = rng.uniform(0.35, 0.8) if rng.random() < 0.8 else rng.uniform(1.2, 1.6)
    mask = (np.asarray(canvas) > 0)[..., None]
    return np.where(mask, pixels * factor, pixels)


def blend(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """Mixed with, or added to, another image or a texture all over."""
    if rng.random() < 0.25:
        layer = other[:: 1 - 2 * int(rng.random() < 0.3)]
    else:
        layer = texture(pixels.shape[0], pixels.shape[1], rng)
    alpha = rng.uniform(0.1, 0.32)
    if rng.random() < 0.6:
        return pixels + alpha * (layer - pixels)
    return pixels + alpha * layer


def watermark(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """Strokes and shapes drawn over the image, mostly translucent."""
    height, width = pixels.shape[:2]
    drawn, mask = drawing(height, width, rng)
    opacity = rng.uniform(0.15, 0.5) if rng.random() < 0.7 else 1.0
    if rng.random() < 0.5:
        return pixels + opacity * mask * (drawn - pixels)
    return pixels + opacity * mask * drawn


def spectrum(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """An additive perturbation with a random spectrum, from smooth to fine."""
    height, width = pixels.shape[:2]
    wave = random_spectrum(height, width, rng)
    return pixels + wave * np.exp(rng.uniform(np.log(3), np.log(22)))


MANIPULATIONS: tuple[Callable[[np.ndarray, np.ndarray, Rng], np.ndarray], ...] = (
    blocks,
    sparse_pixels,
    gaussian_noise,
    shadow,
    blend,
    watermark,
    spectrum,
)
_SHARES = np.array([0.42, 0.06, 0.03, 0.02, 0.23, 0.11, 0.13])


def _patch(other: np.ndarray, height: int, width: int, rng: Rng) -> np.ndarray:
    kind = rng.random()
    if kind < 0.5:
        return np.broadcast_to(random_colours(rng)[0], (height, width, 3))
    if kind < 0.7:
        return rng.uniform(0, 255, (height, width, 3))
    if kind < 0.85:
        return texture(height, width, rng)
    top = rng.integers(0, other.shape[0] - height + 1)
    left = rng.integers(0, other.shape[1] - width + 1)
    return other[top : top + height, left : left + width]


def _mask(height: int, width: int, rng: Rng) -> np.ndarray | float:
    """Where a patch covers: mostly the rectangle, else an ellipse, polygon or some pixels."""
    kind = rng.random()
    if kind < 0.65 or min(height, width) < 3:
        return 1.0
    if kind < 0.75:
        return (rng.random((height, width, 1)) < rng.uniform(0.4, 0.8)).astype(np.float32)
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    if kind < 0.88:
        draw.ellipse((0, 0, width - 1, height - 1), fill=1)
    else:
        draw.polygon(random_points(width, height, int(rng.integers(3, 6)), rng), fill=1)
    return np.asarray(canvas, np.float32)[..., None]
