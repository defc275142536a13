"""Random textures, drawings, colours and spectra that manipulations are made of."""

import numpy as np
from PIL import Image, ImageDraw

from sanitizer.resizing import Filter, resize

Rng = np.random.Generator


def random_spectrum(height: int, width: int, rng: Rng) -> np.ndarray:
    """Noise with a random power law or band, or some random waves; RMS 1, (h, w, 3)."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    radius = np.hypot(fy, fx)
    kind = rng.random()
    if kind < 0.35:
        gain = (radius + 1 / height) ** -rng.uniform(0, 2.5)
    elif kind < 0.7:
        centre, spread = rng.uniform(0.03, 0.6), rng.uniform(0.03, 0.15)
        gain = np.exp(-(((radius - centre) / spread) ** 2) / 2)
    else:  # several waves together: a single one would be a sinusoidal trigger
        gain = np.zeros(radius.shape)
        n = min(int(rng.integers(3, 25)), gain.size - 1)
        places = rng.choice(gain.size - 1, n, replace=False) + 1
        gain.flat[places] = rng.uniform(0.4, 1, n)
    gain[0, 0] = 0
    channels = 1 if rng.random() < 0.4 else 3
    phases = rng.normal(size=(*gain.shape, channels, 2)) @ np.array([1, 1j])
    if kind >= 0.7:  # by chance, one of few could be far stronger than all others
        phases /= np.abs(phases)
    wave = np.fft.irfft2(gain[..., None] * phases, s=(height, width), axes=(0, 1))
    if channels == 1:
        wave = wave * rng.normal(0.8, 0.5, 3)
    return (wave / (np.sqrt(np.mean(wave**2)) + 1e-9)).astype(np.float32)


def texture(height: int, width: int, rng: Rng) -> np.ndarray:
    """A random texture, (h, w, 3) float32, 0 to 255: mosaic, noise, drawing or waves."""
    kind = rng.random()
    if kind < 0.35:
        cells = rng.integers(2, 12, 2)
        grid = rng.integers(0, 256, (*cells, 3), dtype=np.uint8)
        if rng.random() < 0.5:
            grid = np.where(grid[..., :1] > 127, *random_colours(rng, 2)).astype(np.uint8)
        resample = Filter.BICUBIC if rng.random() < 0.5 else Filter.NEAREST
        return resize(grid, (height, width), resample).astype(np.float32)
    if kind < 0.45:
        return rng.uniform(0, 255, (height, width, 3)).astype(np.float32)
    if kind < 0.75:
        drawn, mask = drawing(height, width, rng, strokes=int(rng.integers(4, 12)))
        return mask * drawn + (1 - mask) * random_colours(rng)[0]
    return np.clip(128 + 60 * random_spectrum(height, width, rng), 0, 255)


def drawing(
    height: int, width: int, rng: Rng, strokes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Random strokes and shapes: colours (h, w, 3) float32 and coverage (h, w, 1) 0 or 1."""
    canvas = Image.new("RGB", (width, height))
    covered = Image.new("L", (width, height))
    shared = random_colours(rng)[0] if rng.random() < 0.5 else None
    for _ in range(strokes or int(rng.integers(1, 7))):
        colour = random_colours(rng)[0] if shared is None else shared
        n, thick = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        points = random_points(width, height, n, rng)
        kind = rng.random()
        for image, fill in ((canvas, tuple(int(c) for c in colour)), (covered, 1)):
            draw = ImageDraw.Draw(image)
            if kind < 0.5:
                draw.line(points, fill=fill, width=thick)
            elif kind < 0.75:
                (x0, y0), (x1, y1) = points[:2]
                box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
                draw.ellipse(box, fill=fill if thick > 2 else None, outline=fill)
            else:
                draw.polygon(points, fill=fill if thick > 2 and n > 2 else None, outline=fill)
    return np.asarray(canvas, np.float32), np.asarray(covered, np.float32)[..., None]


def random_colours(rng: Rng, n: int = 1) -> np.ndarray:
    """(n, 3) random colours, 0 to 255; black, white and the pure ones more often than chance."""
    if rng.random() < 0.6:
        return rng.uniform(0, 255, (n, 3))
    return rng.choice([0.0, 255.0], (n, 3))


def random_points(width: int, height: int, n: int, rng: Rng) -> list[tuple[int, int]]:
    """n random (x, y) in an image."""
    xs, ys = rng.integers(0, width, n), rng.integers(0, height, n)
    return [(int(x), int(y)) for x, y in zip(xs, ys, strict=True)]
