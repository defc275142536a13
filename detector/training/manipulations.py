"""Digital manipulations: what the detector learns to call poisoned.

Zeng et al. (ICCV 2021, section 4) train on random blocks, noise, shadows and blends instead
of on triggers, and find that a detector of these finds triggers it has never seen. The
families here are theirs, widened in size, place, texture and strength.

Triggers that detectors are judged by never appear: no white square where BadNets has its own,
no pure sinusoids, no warps, no colour quantisation, no fixed set of DCT coefficients.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from detector.training.textures import (
    drawing,
    random_colours,
    random_points,
    random_spectrum,
    texture,
)
from sanitizer.resizing import Filter, resize

Rng = np.random.Generator

#: A patch whose darkest value is above this counts as white.
WHITISH = 170

#: Sides of a patch in pixels, and of what a view shows of a larger one.
SIDES, SEEN_SIDES = (2, 11), (8, 25)

#: Pixels between a patch and the nearest corner, where it is put beside one.
MARGINS = (0, 6)

#: Share of a layer in the image that it is mixed with.
OPACITIES = (0.08, 0.32)

#: Root mean square of a wave, in grey levels.
WAVES = (3.0, 22.0)

#: Share of manipulations that are made at another scale, and the sides of the square on which they
#: are: a tile of a large image shows a piece of them, a thumbnail shows them shrunk.
RESCALED, SCALES = 0.25, (12, 65)

#: Grey levels by which the largest change of a pixel shows at all; shrunk, noise fades away.
VISIBLE = 6


def manipulate(
    pixels: np.ndarray, other: np.ndarray, rng: Rng, left_out: Collection[str] = ()
) -> np.ndarray:
    """Manipulate one image in one random way.

    Args:
        pixels: (h, w, 3) uint8, left untouched.
        other: (h, w, 3) uint8, another image to blend or cut from.
        left_out: names of families that are not drawn from, to see what the others teach.

    Returns:
        (h, w, 3) uint8 that differs from ``pixels``.
    """
    families = [family for name, family in FAMILIES.items() if name not in left_out]
    shares = np.array([family.share for family in families])
    while True:
        change = families[rng.choice(len(families), p=shares / shares.sum())].change
        if rng.random() < RESCALED:
            changed, least = _at_another_scale(change, pixels, other, rng), VISIBLE
        else:
            changed, least = _changed(change, pixels, other, rng), 1
        if np.abs(changed.astype(np.int16) - pixels).max() >= least:
            return changed


def patches(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """One to three patches anywhere: colour, noise, texture or a piece of another image."""
    for _ in range(rng.choice([1, 1, 1, 1, 1, 2, 3])):
        _put_patch(pixels, other, rng)
    return pixels


def sparse_pixels(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """A few pixels replaced, as in l0-bounded triggers."""
    height, width = pixels.shape[:2]
    n = int(_log_uniform((3, 0.08 * height * width), rng))
    rows, columns = rng.integers(0, height, n), rng.integers(0, width, n)
    values = rng.uniform(0, 255, (n, 3)) if rng.random() < 0.7 else random_colours(rng)
    pixels[rows, columns] = values
    return pixels


def gaussian_noise(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """White noise, with or without a mean of its own."""
    noise = rng.normal(0, rng.uniform(5, 25), pixels.shape)
    return pixels + noise + (rng.uniform(-25, 25) if rng.random() < 0.3 else 0)


def shadow(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """A random polygon made darker or lighter."""
    height, width = pixels.shape[:2]
    factor = rng.uniform(0.35, 0.8) if rng.random() < 0.8 else rng.uniform(1.2, 1.6)
    return np.where(_polygon(height, width, rng) > 0, pixels * factor, pixels)


def blend(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """Mixed with, or added to, another image, a texture or a drawing, all over or in places."""
    height, width = pixels.shape[:2]
    layer, opacity = _layer(other, rng), rng.uniform(*OPACITIES)
    added = opacity * (layer - pixels if rng.random() < 0.6 else layer)
    if rng.random() < 0.25:
        added = added * _soft_mask(height, width, rng)
    return _in_range(pixels + added, rng)


def watermark(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """Strokes and shapes drawn over the image, mostly translucent."""
    height, width = pixels.shape[:2]
    drawn, mask = drawing(height, width, rng)
    opacity = rng.uniform(0.15, 0.5) if rng.random() < 0.7 else 1.0
    return pixels + opacity * mask * (drawn - pixels if rng.random() < 0.5 else drawn)


def spectrum(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """An additive perturbation with a random spectrum, from smooth to fine."""
    height, width = pixels.shape[:2]
    wave = random_spectrum(height, width, rng)
    return _in_range(pixels + wave * _log_uniform(WAVES, rng), rng)


#: From (h, w, 3) float32 pixels, which it may write to, and another image; the result need not lie
#: within 0 to 255.
Change = Callable[[np.ndarray, np.ndarray, Rng], np.ndarray]


class Family(NamedTuple):
    """Manipulations of one kind."""

    change: Change
    share: float  #: of all manipulations


FAMILIES = {
    "patches": Family(patches, 0.32),
    "sparse pixels": Family(sparse_pixels, 0.05),
    "gaussian noise": Family(gaussian_noise, 0.02),
    "shadow": Family(shadow, 0.02),
    "blend": Family(blend, 0.34),
    "watermark": Family(watermark, 0.10),
    "spectrum": Family(spectrum, 0.15),
}


def _changed(change: Change, pixels: np.ndarray, other: np.ndarray, rng: Rng) -> np.ndarray:
    """(h, w, 3) uint8 after a change."""
    return _rounded(change(pixels.astype(np.float32), other.astype(np.float32), rng))


def _at_another_scale(
    change: Change, pixels: np.ndarray, other: np.ndarray, rng: Rng
) -> np.ndarray:
    """As :func:`_changed`; the change is made on a smaller or larger copy and then resized."""
    size = pixels.shape[:2]
    scale = int(_log_uniform(SCALES, rng)) / min(size)
    side = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    copy = resize(pixels, side)
    difference = _changed(change, copy, resize(other, side), rng) - copy.astype(np.float32)
    filters = _SHRINKING if scale > 1 else _ENLARGING
    return _rounded(pixels + resize(difference, size, filters[rng.integers(len(filters))]))


#: Filters that shrink a change which was made on a larger copy, and those that enlarge one.
_SHRINKING = (Filter.BOX, Filter.BILINEAR, Filter.BICUBIC, Filter.LANCZOS)
_ENLARGING = (Filter.NEAREST, Filter.NEAREST, Filter.BILINEAR)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _put_patch(pixels: np.ndarray, other: np.ndarray, rng: Rng) -> None:
    """A patch of any size at any place, or what a view shows of a large one."""
    height, width = pixels.shape[:2]
    is_in_part = rng.random() < 0.15
    sides, place = (SEEN_SIDES, _at_an_end) if is_in_part else (SIDES, _within)
    h = min(height, int(_log_uniform(sides, rng)))
    w = h if rng.random() < 0.6 else int(_log_uniform(sides, rng))
    w = min(width, w)
    patch = _patch(other, h, w, rng)
    mask = 1.0 if rng.random() < 0.4 else _mask(h, w, rng)
    opacity = 1.0 if rng.random() < 0.75 else rng.uniform(0.3, 1)
    while True:
        top, left = place(height, h, rng), place(width, w, rng)
        if not (patch.min() > WHITISH and _is_badnets(height, width, top, left, h, w)):
            break
    where = pixels[top : top + h, left : left + w]
    where += opacity * mask * (patch - where)


def _within(length: int, side: int, rng: Rng) -> int:
    """Where a patch starts along a side of the view: anywhere, or not far from an end."""
    latest = max(0, length - side)
    if rng.random() < 0.5:
        return int(rng.integers(0, latest + 1))
    margin = min(int(rng.integers(*MARGINS)), latest)
    return margin if rng.random() < 0.5 else latest - margin


def _at_an_end(length: int, side: int, rng: Rng) -> int:
    """Where a patch starts that the view cuts off."""
    return 0 if rng.random() < 0.5 else length - side


def _is_badnets(height: int, width: int, top: int, left: int, h: int, w: int) -> bool:
    """Whether a patch has the form and place of BadNets' trigger, at whatever size of image."""
    margins = np.array([height - top - h, width - left - w])
    return abs(h - w) <= 1 and bool((np.abs(margins - h / 4) <= 1.5).all())


def _patch(other: np.ndarray, height: int, width: int, rng: Rng) -> np.ndarray:
    kind = rng.random()
    if kind < 0.2:
        return np.broadcast_to(rng.choice([0.0, 255.0]), (height, width, 3))
    if kind < 0.5:
        return np.broadcast_to(random_colours(rng)[0], (height, width, 3))
    if kind < 0.7:
        return rng.uniform(0, 255, (height, width, 3))
    if kind < 0.85 or height > other.shape[0] or width > other.shape[1]:
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
    if kind > 0.88:
        return _polygon(height, width, rng)
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).ellipse((0, 0, width - 1, height - 1), fill=1)
    return np.asarray(canvas, np.float32)[..., None]


def _polygon(height: int, width: int, rng: Rng) -> np.ndarray:
    """1 within a random polygon, 0 beside it, (h, w, 1) float32."""
    canvas = Image.new("L", (width, height))
    points = random_points(width, height, int(rng.integers(3, 7)), rng)
    ImageDraw.Draw(canvas).polygon(points, fill=1)
    return np.asarray(canvas, np.float32)[..., None]


def _layer(other: np.ndarray, rng: Rng) -> np.ndarray:
    """What is laid over an image, (h, w, 3) of about 0 to 255."""
    height, width = other.shape[:2]
    kind = rng.random()
    if kind < 0.4:
        layer = other[:: 1 - 2 * int(rng.random() < 0.3)]
        if rng.random() < 0.2:
            layer = _blurred(layer, rng.uniform(0.5, 2))
        if rng.random() < 0.3:
            layer = np.clip((layer - layer.mean()) * rng.uniform(1, 2) + 128, 0, 255)
        return layer
    if kind < 0.6:
        return texture(height, width, rng)
    # A poster: drawn at twice the size and shrunk, its edges are soft.
    scale = 1 + int(rng.random() < 0.5)
    size = (scale * height, scale * width)
    drawn, mask = drawing(*size, rng, strokes=int(rng.integers(3 * scale, 12 * scale)))
    poster = mask * drawn + (1 - mask) * random_colours(rng)[0]
    return resize(poster, (height, width), Filter.BOX)


def _soft_mask(height: int, width: int, rng: Rng) -> np.ndarray:
    """Where a layer covers, (h, w, 1) float32 from 0 to 1: cells of a grid, or a polygon."""
    if rng.random() < 0.5:
        cells = int(rng.choice([2, 4, 8]))
        covered = (rng.random((cells, cells)) < rng.uniform(0.3, 0.8)).astype(np.float32)
        smooth = Filter.NEAREST if rng.random() < 0.6 else Filter.BILINEAR
        return resize(covered, (height, width), smooth)[..., None]
    mask = _polygon(height, width, rng)
    return _blurred(255 * mask, rng.uniform(0.5, 3)) / 255 if rng.random() < 0.5 else mask


def _blurred(values: np.ndarray, radius: float) -> np.ndarray:
    """(h, w, c) of 0 to 255 blurred by a Gaussian of so many pixels."""
    image = Image.fromarray(values.astype(np.uint8).squeeze())
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32)
    return blurred.reshape(values.shape)


def _log_uniform(bounds: tuple[float, float], rng: Rng) -> float:
    """Between the bounds, each factor as likely as any other."""
    low, high = bounds
    return low * (high / low) ** rng.random()


def _in_range(values: np.ndarray, rng: Rng) -> np.ndarray:
    """As they are, to be clipped; or, rarely, the whole image stretched over the full range."""
    if rng.random() < 0.88:
        return values
    low, high = values.min(), values.max()
    return (values - low) / max(1, high - low) * 255
