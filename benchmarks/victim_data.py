"""Labelled images that victims are trained and tested on, by the splits of the data's README."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.detection_data import decoded, tracks


@dataclass(frozen=True)
class VictimData:
    """A training part and a test part that share no image, and no track of images."""

    images: np.ndarray  #: (n, 32, 32, 3) uint8
    labels: np.ndarray  #: (n,) int64
    test_images: np.ndarray  #: (m, 32, 32, 3) uint8
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


#: By name.
DATA = {"cifar10": cifar10, "gtsrb": gtsrb}


def _split(file: Path, test: np.ndarray, classes: int, flip: bool, words: str) -> VictimData:
    table = pq.read_table(file, columns=["image", "label"])
    images = np.stack(decoded(table["image"].combine_chunks(), np.arange(len(table))))
    labels = table["label"].to_numpy().astype(np.int64)
    return VictimData(
        images[~test], labels[~test], images[test], labels[test], classes, flip, words
    )
