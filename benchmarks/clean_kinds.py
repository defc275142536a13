"""How many clean images of kinds that no set here has as such are lost: sizes, scans, drawings.

    python -m benchmarks.clean_kinds DATA_DIR

All are made from test images (the rows of ``benchmarks.detection``) or drawn. Each kind is a set of
its own, judged as ``freqsan clean --policy budget`` judges it. The last column is what a set of too
few images to be judged by itself would lose.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from benchmarks.detection import LOSS, images_of
from detector.bulk import OwnScale
from detector.inputs import Parts
from detector.model import Detector
from detector.scores import Scores
from detector.training.graphics import graphics
from detector.training.histories import jpeg
from sanitizer.cores import allow_threads
from sanitizer.images import Header
from sanitizer.metrics import wilson
from sanitizer.resizing import Filter, resize

#: Images of each kind, at most.
IMAGES = 900

Make = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def grey(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scanned without colour."""
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def night(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark, and with the noise of a sensor that is turned up."""
    dark = pixels * 0.5
    noise = rng.normal(0, 1, pixels.shape) * np.sqrt(dark + 10) * 0.8
    return np.clip(np.rint(dark + noise), 0, 255).astype(np.uint8)


def palette(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As a GIF of 256 colours."""
    image = Image.fromarray(pixels).quantize(256, Image.Quantize.MEDIANCUT)
    return np.asarray(image.convert("RGB"))


def sharpened(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many thumbnails are."""
    sharp = ImageFilter.UnsharpMask(1.0, 60, 0)
    return np.asarray(Image.fromarray(pixels).filter(sharp))


def equalised(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With as much contrast as there can be."""
    return np.asarray(ImageOps.equalize(Image.fromarray(pixels)))


def any_size(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From 26 to 400 px, as cut out of larger pictures."""
    side = int(26 * (400 / 26) ** rng.random())
    return resize(pixels, (side, max(8, round(side * rng.uniform(0.8, 1.25)))), Filter.BILINEAR)


def of_side(side: int) -> Make:
    """Resized to a square."""
    return lambda pixels, rng: resize(pixels, (side, side), Filter.BICUBIC)


def strip(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A banner, six times as wide as it is high."""
    return pixels[96:128, 16:208]


def photo(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """500x375 px."""
    return resize(pixels[28:196], (375, 500), Filter.BICUBIC)


def as_it_is(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As it is."""
    return pixels


#: By name: the set that they are made from, how, and the quality as a JPEG.
KINDS: dict[str, tuple[str, Make, int | None]] = {
    "photos of 500x375 px, JPEG q85": ("imagenette 224", photo, 85),
    "photos of 500x375 px, PNG": ("imagenette 224", photo, None),
    "faces' size, 200 px, JPEG q92": ("imagenette 224", of_side(200), 92),
    "thumbnails of 64 px, JPEG q80": ("imagenette 224", of_side(64), 80),
    "signs of 26 to 400 px, PNG": ("gtsrb", any_size, None),
    "signs of 26 to 400 px, JPEG q90": ("gtsrb", any_size, 90),
    "tiny, 16 px": ("cifar10", of_side(16), None),
    "tiny, 8 px": ("cifar10", of_side(8), None),
    "banners of 192x32 px": ("imagenette 224", strip, None),
    "grey scans of 224 px, JPEG q95": ("imagenette 224", grey, 95),
    "grey, 32 px": ("cifar10", grey, None),
    "night photos, 224 px, JPEG q85": ("imagenette 224", night, 85),
    "night photos, 32 px": ("cifar10", night, None),
    "GIF of 256 colours, 128 px": ("imagenette 128", palette, None),
    "sharpened thumbnails, 64 px": ("imagenette 64", sharpened, None),
    "photos with equalised histograms, 64 px": ("imagenette 64", equalised, None),
    "drawn pages of 160 px, PNG": ("pages 160", as_it_is, None),
    "drawn pages of 160 px, JPEG q90": ("pages 160", as_it_is, 90),
    "icons of 32 px, PNG": ("pages 32", as_it_is, None),
}


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", default="freqsan-small")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    allow_threads(1)

    detector = Detector.load(arguments.detector)
    sets = images_of(arguments.data, IMAGES, arguments.seed, "test")
    for side in (32, 160):
        rng = np.random.default_rng([arguments.seed, side])
        sets[f"pages {side}"] = graphics(IMAGES, side, rng)
    print(f"{detector.identity}, seed {arguments.seed}")
    print("| kind | n | lost, % | by the stored groups, % |\n|---|---|---|---|")
    for name, (given, make, quality) in KINDS.items():
        rng = np.random.default_rng([arguments.seed, 1])
        changed = (make(pixels, rng) for pixels in sets[given])
        scores = detector.score(list(parts_of(detector, changed, quality)))
        lost, lost_few = losses(detector, scores)
        print(f"| {name} | {len(scores):,} | {_share(lost)} | {_share(lost_few)} |", flush=True)


def parts_of(
    detector: Detector, images: Iterator[np.ndarray], quality: int | None
) -> Iterator[Parts]:
    """Parts of images, as JPEG where a quality is given."""
    for pixels in images:
        if quality is None:
            yield detector.inputs.cut(pixels)
        else:
            header = Header(pixels.shape[1], pixels.shape[0], "JPEG", quality)
            yield detector.inputs.cut(jpeg(pixels, quality), header)


def losses(detector: Detector, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Which images are lost in a set of all, and by the stored groups alone, (n,) bool each."""
    stored = detector.calibration.p_values(scores).values
    own = OwnScale.of(detector.calibration, scores).p_values(scores, stored)
    return own <= LOSS, stored <= LOSS


def _share(lost: np.ndarray) -> str:
    low, high = wilson(int(lost.sum()), len(lost))
    return f"{100 * lost.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
