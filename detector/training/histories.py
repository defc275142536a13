"""The encoding histories that a clean image may have before it reaches us.

A detector trained on lossless pictures alone calls nearly every JPEG poisoned, because
compression and resizing write their own marks into the high frequencies. So a clean image
in training has been through what pictures on the internet go through. Warps, colour
quantisation and everything else that a trigger may consist of stay out.
"""

import io

import numpy as np
from PIL import Image, ImageFilter

from detector.inputs import Tiles
from sanitizer.resizing import Filter, resize

#: Side of a view, in pixels.
SIDE = Tiles.side

#: Filters with which pictures are resized; Pillow's are antialiased where they shrink.
FILTERS: tuple[Filter, ...] = (
    Filter.BILINEAR,
    Filter.BICUBIC,
    Filter.LANCZOS,
    Filter.BOX,
    Filter.HAMMING,
)

#: Filters of libraries that sample without antialiasing, such as OpenCV and TensorFlow.
SAMPLERS: tuple[Filter, ...] = (Filter.NEAREST, Filter.BILINEAR, Filter.BICUBIC)

#: Qualities of lossy codecs in training.
QUALITIES = (30, 101)

#: Pillow's names for JPEG's 4:4:4, 4:2:2 and 4:2:0, and how often each is met.
SUBSAMPLINGS, SUBSAMPLING_SHARES = (0, 1, 2), (0.3, 0.1, 0.6)

#: Sides that a view is resized to and back, or cropped from, in pixels.
RESIZED = (12, 97)


def jpeg(pixels: np.ndarray, quality: int, subsampling: int = 2) -> np.ndarray:
    """One JPEG generation of (h, w, 3) uint8; ``subsampling`` 0 is 4:4:4 and 2 is 4:2:0."""
    return _through(pixels, "JPEG", quality=quality, subsampling=subsampling)


def webp(pixels: np.ndarray, quality: int) -> np.ndarray:
    """One lossy WebP generation of (h, w, 3) uint8."""
    return _through(pixels, "WEBP", quality=quality, method=0)


def sample(pixels: np.ndarray, side: tuple[int, int], resample: Filter) -> np.ndarray:
    """Resize (h, w, 3) uint8 to (height, width) ``side`` without antialiasing."""
    height, width = pixels.shape[:2]
    scale = (width / side[1], 0, 0, 0, height / side[0], 0)
    image = Image.fromarray(pixels)
    return np.asarray(image.transform(side[::-1], Image.Transform.AFFINE, scale, resample))


def training_views(pixels: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """Turn one decoded image into 32x32 views for the training pool.

    A larger image is seen as the thumbnails of small sets and as the native tiles of larger
    ones; an image of 32 px or less has only one view, whatever ``n``.

    Args:
        pixels: (h, w, 3) uint8 of any size.
        n: views of a larger image.

    Returns:
        (n or 1, 32, 32, 3) uint8.
    """
    if min(pixels.shape[:2]) <= SIDE:
        # Cut before it grows: the whole of a long strip would be many times as large.
        return resize(_crop(pixels, rng), (SIDE, SIDE))[None]
    return np.stack([_view(pixels, rng) for _ in range(n)])


def random_history(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take one (32, 32, 3) uint8 view through a random clean history; same shape."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    for share, change in _CHANGES:
        if rng.random() < share:
            pixels = change(pixels, rng)
    return np.ascontiguousarray(pixels)


def random_encoding(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take one (h, w, 3) uint8 image through one lossy generation, or two; same shape.

    A tile is cut anywhere, so the codec's block grid may start anywhere in it.
    """
    generations = 2 if rng.random() < 0.15 else 1
    for _ in range(generations):
        pixels = _encoded(pixels, rng)
    return pixels


def _encoded(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    top, left = rng.integers(0, 16, 2) if rng.random() < 0.3 else (0, 0)
    if top or left:
        pixels = np.pad(pixels, ((top, 16 - top), (left, 16 - left), (0, 0)), mode="symmetric")
    if rng.random() < 0.08:
        pixels = webp(pixels, int(rng.integers(*QUALITIES)))
    else:
        subsampling = int(rng.choice(SUBSAMPLINGS, p=SUBSAMPLING_SHARES))
        pixels = jpeg(pixels, int(rng.integers(*QUALITIES)), subsampling)
    return pixels[top : top + height, left : left + width]


def _through(pixels: np.ndarray, fmt: str, **options: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, fmt, **options)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _view(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    kind = rng.random()
    if kind < 0.2:
        return _crop(pixels, rng)
    short = SIDE if kind < 0.6 else int(rng.integers(SIDE, min(height, width) + 1))
    if rng.random() < 0.5:  # a centred square, the habit of small sets
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels, height, width = pixels[top : top + side, left : left + side], side, side
    scale = short / min(height, width)
    side = (max(SIDE, round(height * scale)), max(SIDE, round(width * scale)))
    change, filters = (sample, SAMPLERS[1:]) if rng.random() < 0.2 else (resize, FILTERS)
    return _crop(change(pixels, side, filters[rng.integers(len(filters))]), rng)


def _crop(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square of the image, of all of an axis that is shorter than its side."""
    top, left = (rng.integers(0, max(0, length - SIDE) + 1) for length in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE]


def _resized(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brought to another size, there and back or there and cropped; 32x32 again.

    Only by smooth filters where it grows: nearest pixels would leave flat blocks.
    """
    height, width = (int(s) for s in rng.integers(*RESIZED, 2))
    if rng.random() < 0.7:
        width = height
    samplers = SAMPLERS if max(height, width) <= SIDE else SAMPLERS[1:]
    change, filters = (sample, samplers) if rng.random() < 0.4 else (resize, FILTERS[:3])
    pixels = change(pixels, (height, width), filters[rng.integers(len(filters))])
    if min(height, width) > SIDE and rng.random() < 0.5:
        return _crop(pixels, rng)
    change, filters = (sample, SAMPLERS[1:]) if rng.random() < 0.4 else (resize, FILTERS[:3])
    return change(pixels, (SIDE, SIDE), filters[rng.integers(len(filters))])


def _toned(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another gamma, less contrast, another brightness, or no colour; nothing is clipped.

    Clipping makes flat white and black regions, and then a flat patch is no sign of anything.
    """
    if rng.random() < 0.35:
        return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))
    levels = np.arange(256, dtype=np.float64) / 255
    contrast = rng.uniform(0.8, 1)
    curve = levels ** rng.uniform(0.75, 1.3) * contrast + rng.uniform(0, 1 - contrast)
    return np.rint(curve * 255).astype(np.uint8)[pixels]


def _filtered(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mildly blurred or sharpened."""
    if rng.random() < 0.7:
        chosen: ImageFilter.MultibandFilter = ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9))
    else:
        chosen = ImageFilter.UnsharpMask(rng.uniform(0.5, 2), int(rng.integers(20, 80)), 0)
    return np.asarray(Image.fromarray(pixels).filter(chosen))


def noisy(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As a camera sees at night: noise that grows with the light, smoothed by the camera."""
    light = pixels.astype(np.float32)
    noise = rng.normal(0, 1, pixels.shape) * np.sqrt(light + 20) * rng.uniform(0.2, 1.2)
    grain = np.clip(np.rint(light + noise), 0, 255).astype(np.uint8)
    smooth = ImageFilter.GaussianBlur(rng.uniform(0.5, 1.0))
    return np.asarray(Image.fromarray(grain).filter(smooth))


def with_palette(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As in a GIF: few colours, chosen for the image, with or without dithering."""
    dither = Image.Dither.FLOYDSTEINBERG if rng.random() < 0.7 else Image.Dither.NONE
    image, colours = Image.fromarray(pixels), int(rng.integers(64, 257))
    palette = image.quantize(colours, Image.Quantize.FASTOCTREE)
    return np.asarray(image.quantize(palette=palette, dither=dither).convert("RGB"))


#: What may happen to a view, in this order, and to what share of views.
_CHANGES = (
    (0.25, _resized),
    (0.1, _toned),
    (0.1, _filtered),
    (0.04, noisy),
    (0.02, with_palette),
    (0.5, random_encoding),
)
