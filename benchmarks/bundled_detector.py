"""Rebuild the bundled detector ``freqsan-small`` from real images.

    python -m benchmarks.bundled_detector DATA_DIR --output detector/weights/freqsan-small

DATA_DIR holds ``cifar10_train.parquet``, ``gtsrb_train.parquet`` and
``imagenette224.parquet`` in Hugging Face form. The run resumes from its work directory.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks.detection_data import decoded, table, tracks
from detector.card import TrainingSet
from detector.inputs import Parts, Tiles
from detector.model import Detector
from detector.training.calibrate import calibrate
from detector.training.graphics import CANVAS, graphics
from detector.training.histories import jpeg, noisy, training_views, with_palette
from detector.training.loop import TrainSettings, train
from sanitizer.images import Header
from sanitizer.resizing import Filter, resize
from sanitizer.training import TrainingState

#: Rows of each part; GTSRB is split by the last digit of a track's number instead.
CIFAR = {"train": (0, 36_000), "validation": (36_000, 38_000), "calibration": (38_000, 40_000)}
IMAGENETTE = {"train": (0, 2_400), "validation": (2_400, 2_500), "calibration": (2_500, 3_000)}
GTSRB = {"train": (0, 1, 2, 5, 6, 7), "validation": (3,), "calibration": (8,)}

#: Views of one 224 px picture in the training pool.
VIEWS = 24

#: Images of one calibration group: more than 999, so that a clean loss of 0.1 % is reachable.
GROUP = 1_500

#: Encodings of calibration images: quality and subsampling of JPEG, one of each band.
JPEGS = ((50, 2), (75, 2), (75, 0), (90, 2), (90, 0), (97, 2), (100, 0))

#: JPEGs that were decoded and stored losslessly again.
DECODED = ((75, 2), (95, 2))

#: Sides of the larger calibration images, px, for each range of numbers of parts.
LARGER = ((48, 64), (80, 96), (128, 160), (224, 320))

#: What makes edges and noise of a photo stand out, beyond what is met in training.
RETOUCHED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "equalised": ImageOps.equalize,
    "sharpened": lambda photo: photo.filter(ImageFilter.UnsharpMask(2, 200, 0)),
    "with edges enhanced": lambda photo: photo.filter(ImageFilter.EDGE_ENHANCE),
    "with contrast": lambda photo: ImageEnhance.Contrast(photo).enhance(2),
}

#: Pillow's names for JPEG's ways of leaving out colour.
SUBSAMPLED = {0: "4:4:4", 2: "4:2:0"}

TRAINING_DATA = (
    TrainingSet("CIFAR-10", "rows 0-35,999", "cite Krizhevsky 2009"),
    TrainingSet("GTSRB", "tracks 0, 1, 2 mod 5", "research use, cite Stallkamp"),
    TrainingSet("Imagenette", "rows 0-2,399", "research use"),
)
CALIBRATION_DATA = (
    "CIFAR-10 rows 38,000-39,999, GTSRB tracks 8 mod 10, Imagenette rows 2,500-2,999, and what "
    "tells of unusual sets: pages drawn by code, the same photos with a palette, at night and "
    "retouched; "
    "measured on CIFAR-10 rows 36,000-37,999, GTSRB tracks 3 mod 10, Imagenette rows 2,400-2,499; "
    "none of them trained on"
)
BLIND_SPOTS = (
    "smooth, low-frequency triggers (smooth, sig, lf, low-pass), warps (WaNet) and reflections "
    "(Refool): a single image shows next to nothing of them, and they are the scan's work",
    "faint layers after JPEG of quality 75 and below",
    "coloured flat squares after any JPEG, and translucent text, mostly as PNG, too",
    "fine checkers of full contrast that fill most of a tile, 20 to 30 px wide",
    "small patches where no tile reads a large photo, once shrinking has smoothed them",
    "natural objects that are put into a picture as part of the scene",
)
LICENCE = "terms of the training data as stated; no pictures are included"


def main() -> None:
    """Read the arguments, train, calibrate, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, default=Path("detector/weights/freqsan-small"))
    parser.add_argument("--work", type=Path, default=Path("build/freqsan-small"))
    parser.add_argument("--epochs", type=int, default=TrainSettings.epochs)
    parser.add_argument("--pairs", type=int, default=TrainSettings.pairs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bfloat16", action="store_true", help="faster where hardware has it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    settings = TrainSettings(
        epochs=arguments.epochs,
        pairs=arguments.pairs,
        seed=arguments.seed,
        bfloat16=arguments.bfloat16,
    )
    pool = np.concatenate(list(views(arguments.data, "train", VIEWS).values()))
    held_out = views(arguments.data, "validation", VIEWS)
    print(f"pool of {len(pool):,} views", flush=True)
    trained = train(pool, held_out, settings, checkpoint_dir=arguments.work, observer=show)
    detector = Detector.of(
        "freqsan-small",
        trained,
        training_data=TRAINING_DATA,
        calibration_data=CALIBRATION_DATA,
        licence=LICENCE,
        blind_spots=BLIND_SPOTS,
        pool_views=len(pool),
    )
    images = images_of(arguments.data, "calibration")
    unusual = unusual_parts(images["imagenette"])
    detector = calibrate(detector, calibration_parts(images), unusual=unusual)
    detector.save(arguments.output)
    print(f"saved {detector.identity} with {len(detector.calibration.groups)} groups")


def views(data: Path, part: str, n: int) -> dict[str, np.ndarray]:
    """Clean 32x32 views of one part of each data set, by its name."""
    rng = np.random.default_rng(0)
    views_of = {}
    for name, images in images_of(data, part).items():
        views_of[name] = np.concatenate([training_views(pixels, rng, n) for pixels in images])
        if part != "train":
            views_of[name] = views_of[name][:2000]
    return views_of


def images_of(data: Path, part: str) -> dict[str, list[np.ndarray]]:
    """Decoded images of one part of each data set, by its name."""
    cifar, gtsrb, imagenette = (
        table(data / f)
        for f in ("cifar10_train.parquet", "gtsrb_train.parquet", "imagenette224.parquet")
    )
    return {
        "cifar10": decoded(cifar, np.arange(*CIFAR[part])),
        "gtsrb": decoded(gtsrb, np.flatnonzero(np.isin(tracks(gtsrb) % 10, GTSRB[part]))),
        "imagenette": decoded(imagenette, np.arange(*IMAGENETTE[part])),
    }


def calibration_parts(images: dict[str, list[np.ndarray]]) -> dict[str, Iterator[Parts]]:
    """Parts of clean images by what is on them and how they came about."""
    pictures = images["imagenette"]
    small = {name: several for name, several in images.items() if name != "imagenette"}
    groups = {f"{name} images": several[:GROUP] for name, several in small.items()}
    filters = (Filter.BILINEAR, Filter.LANCZOS, Filter.BOX)
    groups["photos at 32 px"] = [resize(p, (32, 32), f) for f in filters for p in pictures]
    for sides in LARGER:
        name = f"photos at {' and '.join(map(str, sides))} px"
        groups[name] = [resize(p, (s, s), Filter.BICUBIC) for s in sides for p in pictures]
    parts: dict[str, Iterator[Parts]] = {}
    for name, several in groups.items():
        parts[name] = map(Tiles().cut, several)
        parts[f"{name}, resized and back"] = map(_resized, several, range(len(several)))
        for quality, subsampling in DECODED:
            encode = partial(jpeg, quality=quality, subsampling=subsampling)
            parts[f"{name}, once jpeg q{quality}"] = map(Tiles().cut, map(encode, several))
        for quality, subsampling in JPEGS:
            as_jpeg = partial(_as_jpeg, quality=quality, subsampling=subsampling)
            parts[f"{name}, jpeg q{quality} {SUBSAMPLED[subsampling]}"] = map(as_jpeg, several)
    return parts


def unusual_parts(pictures: list[np.ndarray]) -> dict[str, Iterator[Parts]]:
    """Parts of clean images with long tails of scores: drawings, and photos in a poor state."""
    rng = np.random.default_rng(0)
    parts: dict[str, Iterator[Parts]] = {}
    for sides in ((32,), *LARGER):
        pages, photos = [], []
        for number, side in enumerate(sides):
            some = pictures[number :: len(sides)]
            photos += [resize(p, (side, side), Filter.BICUBIC) for p in some]
            factor = -(-side // CANVAS)  # as a screen of many pixels shows a page
            drawn = graphics(len(some), side // factor, rng)
            pages += list(drawn.repeat(factor, 1).repeat(factor, 2))
        of = f"at {' and '.join(map(str, sides))} px"
        dark = [noisy(p, rng) for p in photos]
        parts[f"drawn pages {of}"] = map(Tiles().cut, pages)
        for quality in (75, 90):
            as_jpeg = partial(_as_jpeg, quality=quality, subsampling=2)
            parts[f"drawn pages {of}, jpeg q{quality}"] = map(as_jpeg, pages)
        few_colours = [with_palette(p, rng) for p in photos]
        parts[f"photos with a palette {of}"] = map(Tiles().cut, few_colours)
        parts[f"photos at night {of}"] = map(Tiles().cut, dark)
        for name, change in RETOUCHED.items():
            parts[f"photos {name} {of}"] = map(Tiles().cut, _retouched(photos, change))
        as_jpeg = partial(_as_jpeg, quality=80, subsampling=2)
        parts[f"photos at night {of}, jpeg q80"] = map(as_jpeg, dark)
    return parts


def _retouched(
    photos: list[np.ndarray], change: Callable[[Image.Image], Image.Image]
) -> Iterator[np.ndarray]:
    return (np.asarray(change(Image.fromarray(photo))) for photo in photos)


def _resized(pixels: np.ndarray, number: int) -> Parts:
    """To half the size or to twice, and back."""
    height, width = pixels.shape[:2]
    factor = (0.5, 2)[number % 2]
    changed = resize(pixels, (round(height * factor), round(width * factor)), Filter.BICUBIC)
    return Tiles().cut(resize(changed, (height, width), Filter.BICUBIC))


def _as_jpeg(pixels: np.ndarray, quality: int, subsampling: int) -> Parts:
    header = Header(pixels.shape[1], pixels.shape[0], "JPEG", quality)
    return Tiles().cut(jpeg(pixels, quality, subsampling), header)


def show(state: TrainingState) -> None:
    """One line an epoch."""
    if state.figures is not None:
        figures = "  ".join(f"{name} {value:.3f}" for name, value in state.figures.items())
        print(
            f"epoch {state.epoch}/{state.epochs}  loss {state.loss:.4f}  "
            f"detected at 1 % clean loss: {figures}",
            flush=True,
        )


if __name__ == "__main__":
    main()
