"""Rebuild the bundled detector ``freqsan-small`` from real images.

    python -m benchmarks.bundled_detector DATA_DIR --output detector/weights/freqsan-small

DATA_DIR holds ``cifar10_train.parquet``, ``gtsrb_train.parquet`` and
``imagenette224.parquet`` in Hugging Face form. The run resumes from its work directory.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.detection_data import decoded, table, tracks
from detector.card import TrainingSet
from detector.model import Detector
from detector.training.calibrate import calibrate
from detector.training.histories import jpeg, training_views
from detector.training.loop import TrainSettings, train
from sanitizer.resizing import Filter, resize
from sanitizer.training import TrainingState

#: Rows of each part; GTSRB is split by the last digit of a track's number instead.
CIFAR = {"train": (0, 36_000), "validation": (36_000, 38_000), "calibration": (38_000, 40_000)}
IMAGENETTE = {"train": (0, 2_400), "validation": (2_400, 2_500), "calibration": (2_500, 3_000)}
GTSRB = {"train": (0, 1, 2, 5, 6, 7), "validation": (3,), "calibration": (8,)}

#: Views of one 224 px picture in the training pool.
VIEWS = 15

#: Images of one calibration group: more than 999, so that a clean loss of 0.1 % is reachable.
GROUP = 1_500

#: Encoding histories of the calibration, by name.
HISTORIES = {"lossless": None, "jpeg q95": 95, "jpeg q75": 75, "jpeg q50": 50}

#: Sides of the larger calibration images, px: of 4, 9, and 16 to 25 parts.
LARGER = ((48, 56, 64), (72, 80, 96), (112, 128, 160))

TRAINING_DATA = (
    TrainingSet("CIFAR-10", "rows 0-35,999", "cite Krizhevsky 2009"),
    TrainingSet("GTSRB", "tracks 0, 1, 2 mod 5", "research use, cite Stallkamp"),
    TrainingSet("Imagenette", "rows 0-2,399", "research use"),
)
CALIBRATION_DATA = (
    "CIFAR-10 rows 38,000-39,999, GTSRB tracks 8 mod 10, Imagenette rows 2,500-2,999; measured on "
    "CIFAR-10 rows 36,000-37,999, GTSRB tracks 3 mod 10, Imagenette rows 2,400-2,499; none of them "
    "trained on"
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
        pool_views=len(pool),
    )
    detector = detector.calibrated(calibrate(detector, calibration_images(arguments.data)))
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


def calibration_images(data: Path) -> dict[str, list[np.ndarray]]:
    """Clean images by data set and encoding history, 32 px and larger."""
    images = images_of(data, "calibration")
    pictures = images.pop("imagenette")
    images = {name: several[:GROUP] for name, several in images.items()}
    filters = (Filter.BILINEAR, Filter.LANCZOS, Filter.BOX)
    images["imagenette"] = [resize(p, (32, 32), f) for f in filters for p in pictures]
    for sides in LARGER:
        images["imagenette"] += [
            resize(p, (side, side), Filter.BICUBIC) for side in sides for p in pictures
        ]
    return {
        f"{name} {history}": several if quality is None else [jpeg(p, quality) for p in several]
        for name, several in images.items()
        for history, quality in HISTORIES.items()
    }


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
