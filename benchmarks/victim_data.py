"""Labelled images that victims are trained and tested on, by the splits of the data's README."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.detection_data import decoded, tracks
from sanitizer.resizing import resize


@dataclass(frozen=True)
class VictimData:
    """A training part and a test part that share no image, and no track of images."""

    images: np.ndarray  #: (n, h, w, 3) uint8, 32x32, or 64x64 where images were larger
    labels: np.ndarray  #: (n,) int64
    test_images: np.ndarray  #: (m, h, w, 3) uint8
    test_labels: np.ndarray  #: (m,) int64
    classes: int
    flip: bool  #: whether a mirrored image keeps its label
    split: str  #: in words


def cifar10(data_dir: Path) -> VictimData:
    """Rows 0 to 39,999 to train, 40,000 to 49,999 to test."""
    test = np.arange(50_000) >= 40_000
    words = "rows 0 to 39,999 to train, 40,000 to 49,999 to test"
    return _split(data_dir / "cifar10_train.parquet", test, 10, True, words)


def gtsrb(data_dir: Path) -> VictimData:
    """Tracks 4 mod 5 to test, the others to train: frames of one track are near-identical."""
    file = data_dir / "gtsrb_train.parquet"
    images = pq.read_table(file, columns=["image"])["image"].combine_chunks()
    return _split(file, tracks(images) % 5 == 4, 43, False, "tracks 4 mod 5 to test, others train")


def imagenette(data_dir: Path) -> VictimData:
    """Rows 0 to 2,999 to train, 3,000 to 3,924 to test; resized to 64x64."""
    test = np.arange(3_925) >= 3_000
    words = "rows 0 to 2,999 to train, 3,000 to 3,924 to test, resized to 64x64"
    return _split(data_dir / "imagenette224.parquet", test, 10, True, words, side=64)


#: By name.
DATA = {"cifar10": cifar10, "gtsrb": gtsrb, "imagenette": imagenette}


def _split(
    file: Path, test: np.ndarray, classes: int, flip: bool, words: str, side: int = 32
) -> VictimData:
    table = pq.read_table(file, columns=["image", "label"])
    pixels = decoded(table["image"].combine_chunks(), np.arange(len(table)))
    images = np.stack([resize(each, (side, side)) for each in pixels])
    labels = table["label"].to_numpy().astype(np.int64)
    return VictimData(
        images[~test], labels[~test], images[test], labels[test], classes, flip, words
    )
