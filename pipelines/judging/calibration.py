"""What judges: the detector, and which clean images decide, with what promise, in words."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.calibration import worst_tiles
from detector.model import Detector, DetectorError
from pipelines.batches import encoded_images, judgeable, map_in_order, prepare
from pipelines.runs.progress import Progress
from pipelines.sources import open_source
from sanitizer.errors import InputError
from sanitizer.policy import CalibrationGroup, ConformalPolicy

#: The detector of commands that are not told which.
DEFAULT_DETECTOR = "freqsan-small"


def load_detector(name: str) -> Detector:
    """A bundled detector by name, or one in a directory.

    Raises:
        InputError: there is no such detector, or the directory does not hold a whole one.
    """
    try:
        return Detector.load(name)
    except DetectorError as error:
        raise InputError(str(error)) from error


@dataclass(frozen=True)
class Calibration:
    """Groups of clean scores and where they come from."""

    groups: tuple[CalibrationGroup, ...]
    origin: str  #: "stored" or "trusted"
    words: str  #: what decided and what is promised, for people
    root: str | None = None  #: local folder or file of trusted images

    def digest(self) -> str:
        """Of the groups and their scores, so that a run knows its calibration again."""
        found = hashlib.sha256()
        for g in self.groups:
            found.update(f"{g.name}|{g.min_tiles}|{g.max_tiles}|".encode())
            found.update(np.ascontiguousarray(g.scores, np.float32).tobytes())
        return found.hexdigest()

    def describe(self, max_clean_loss: float) -> dict[str, Any]:
        """The calibration as JSON, without its scores."""
        policy = ConformalPolicy(self.groups, max_clean_loss)
        return {
            "origin": self.origin,
            "words": self.words,
            "thresholds": policy.thresholds(),
            "groups": [
                {
                    "name": g.name,
                    "tiles": [g.min_tiles, g.max_tiles],
                    "images": len(g.scores),
                    "threshold": g.threshold(max_clean_loss),
                }
                for g in self.groups
            ],
        }


def calibrate(
    detector: Detector,
    max_clean_loss: float,
    trusted: str | Path | None,
    *,
    image_column: str | None = None,
    workers: int = 1,
    quiet: bool = False,
) -> Calibration:
    """The calibration of a run: from ``trusted`` clean images, or the detector's own.

    Raises:
        InputError: ``max_clean_loss`` is out of range, ``trusted`` is unreadable, or there
            are too few clean images for so small a clean loss.
    """
    if trusted is None:
        found = _stored(detector, max_clean_loss)
    else:
        found = _trusted(detector, max_clean_loss, trusted, image_column, workers, quiet)
    try:
        ConformalPolicy(found.groups, max_clean_loss)
    except ValueError as error:
        raise InputError(str(error)) from error
    return found


def _stored(detector: Detector, max_clean_loss: float) -> Calibration:
    groups = tuple(
        CalibrationGroup(g["name"], g["min_tiles"], g["max_tiles"], g["scores"])
        for g in detector.calibration
    )
    total = sum(len(g.scores) for g in groups)
    words = (
        f"Calibrated on the {total:,} scores of clean images stored with {detector.identity}, in "
        f"{len(groups)} groups by data set, size and encoding ({_names(groups)}). Of clean images "
        f"like any of these groups, or any mixture of them, {max_clean_loss:.2%} or less are "
        "expected to be removed; a set unlike all of them may lose more. For a promise on your "
        "own data give --trusted with clean images from the same source."
    )
    return Calibration(groups, "stored", words)


def _names(groups: Sequence[CalibrationGroup]) -> str:
    names = list(dict.fromkeys(g.name.split()[0] for g in groups))
    return ", ".join(names)


def _trusted(
    detector: Detector,
    max_clean_loss: float,
    trusted: str | Path,
    image_column: str | None,
    workers: int,
    quiet: bool,
) -> Calibration:
    source = open_source(trusted, image_column=image_column)
    progress = Progress("scoring the trusted images", quiet=quiet)
    progress.start(total=source.rows)
    scores, unjudged = [], 0
    batches = (b for shard in source.shards for b in shard.read())

    def judge(data: list[bytes | None]) -> tuple[np.ndarray, int]:
        prepared = [prepare(d) for d in data]
        found, _ = worst_tiles(detector, judgeable(prepared))
        return found, len(data) - len(found)

    encoded = (encoded_images(b, source.image_column) for b in batches)
    for found, bad in map_in_order(judge, encoded, workers):
        scores.append(found)
        unjudged += bad
        progress.advance(len(found) + bad)
    progress.finish()
    merged = np.sort(np.concatenate(scores)) if scores else np.zeros(0, np.float32)
    # The trusted images speak for the whole set, whatever the sizes in it.
    group = CalibrationGroup("trusted", 1, 1 << 30, merged)
    left_out = f" ({unjudged:,} more could not be judged)" if unjudged else ""
    words = (
        f"Calibrated on {len(merged):,} trusted clean images from {trusted}{left_out}. Of clean "
        f"images from the same source {max_clean_loss:.2%} or less are expected to be removed."
    )
    return Calibration((group,), "trusted", words, source.root)
