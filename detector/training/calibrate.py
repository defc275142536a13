"""A detector meets clean images that it was not trained on: their scores calibrate it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from detector.calibration import MIN_IMAGES, Calibration, CalibrationGroup
from detector.combination import Combination, Scale, figures
from detector.inputs import About, Parts
from detector.kinds import ENCODINGS, PART_RANGES
from detector.model import Detector

#: Images whose parts are in memory at a time.
BATCH = 64


def calibrate(
    detector: Detector,
    images: Mapping[str, Iterable[Parts]],
    min_images: int = MIN_IMAGES,
) -> Detector:
    """The detector, calibrated by clean images that it was never trained on.

    Args:
        images: parts of clean images, by what is on them and how they came about.
        min_images: a kind with fewer images gives no group; 99 is what a clean loss of 1 % needs.

    Returns:
        The detector with one group for each name and each kind that it has images of, and with a
        combination for each range of sizes, learnt from all images of that range.
    """
    seen = {name: _Seen.by(detector, several) for name, several in images.items()}
    detector = detector.calibrated(Calibration(), _combinations(list(seen.values())))
    groups = []
    for name, clean in seen.items():
        scores = detector.scores(clean.logits, clean.about)
        for low, high in PART_RANGES:
            of_size = (scores.parts >= low) & (scores.parts <= high)
            for encoding in range(len(ENCODINGS)):
                values = scores.values[of_size & (scores.encodings == encoding)]
                if len(values) >= min_images:
                    group = CalibrationGroup(name, (low, high), encoding, np.sort(values))
                    groups.append(group)
    return detector.calibrated(Calibration(tuple(groups)), detector.card.combinations)


@dataclass(frozen=True)
class _Seen:
    """What a detector says of the parts of some images."""

    logits: list[np.ndarray]
    about: list[About]

    @classmethod
    def by(cls, detector: Detector, images: Iterable[Parts]) -> "_Seen":
        seen = cls([], [])
        remaining = iter(images)
        while some := list(islice(remaining, BATCH)):
            seen.logits.extend(detector.logits(some))
            seen.about.extend(image.about for image in some)
        return seen


def _combinations(several: list[_Seen]) -> list[Combination]:
    """One for each range of sizes that there are images of, if there are images of one part."""
    single = [of[0] for seen in several for of in seen.logits if len(of) == 1]
    if not single:
        return []
    reference = Scale.of(np.array(single)[:, None])
    combinations = []
    for low, high in PART_RANGES[1:]:
        clean = [
            (logits, image.native)
            for seen in several
            for logits, image in zip(seen.logits, seen.about, strict=True)
            if low <= len(logits) <= high
        ]
        if len(clean) >= MIN_IMAGES:
            of_size = figures(*zip(*clean, strict=True))
            combinations.append(Combination.of((low, high), of_size, reference))
    return combinations
