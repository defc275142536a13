"""A detector meets clean images that it was not trained on: their scores calibrate it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from detector.calibration import MIN_IMAGES, Calibration, CalibrationGroup
from detector.combination import Combination, Scale, figures
from detector.inputs import About, Parts
from detector.kinds import ENCODINGS, PART_RANGES
from detector.model import Detector
from detector.scores import Scores

#: Images whose parts are in memory at a time.
BATCH = 64


def calibrate(
    detector: Detector,
    images: Mapping[str, Iterable[Parts]],
    min_images: int = MIN_IMAGES,
    unusual: Mapping[str, Iterable[Parts]] | None = None,
) -> Detector:
    """The detector, calibrated by clean images that it was never trained on.

    Args:
        images: parts of clean images, by what is on them and how they came about.
        min_images: a kind with fewer images gives no group; 99 is what a clean loss of 1 % needs.
        unusual: parts of other clean images, see :attr:`Calibration.unusual`.

    Returns:
        The detector with one group for each name and each kind that it has images of, and with a
        combination for each range of sizes, learnt from all images of that range.
    """
    seen = {name: _Seen.by(detector, several) for name, several in images.items()}
    detector = detector.calibrated(Calibration(), _combinations(list(seen.values())))
    groups: list[CalibrationGroup] = []
    others: list[CalibrationGroup] = []
    for name, clean in seen.items():
        scores = detector.scores(clean.logits, clean.about)
        for encoding in range(len(ENCODINGS)):
            alike = scores.encodings == encoding
            groups += _groups(name, scores, alike, encoding, min_images)
    for name, several in (unusual or {}).items():
        clean = _Seen.by(detector, several)
        scores = detector.scores(clean.logits, clean.about)
        others += _groups(name, scores, np.ones(len(scores), bool), None, min_images)
    calibration = Calibration(tuple(groups), tuple(others))
    return detector.calibrated(calibration, detector.card.combinations)


def _groups(
    name: str, scores: Scores, chosen: np.ndarray, encoding: int | None, min_images: int
) -> Iterator[CalibrationGroup]:
    """One of the chosen images for each range of sizes of which there are enough."""
    for low, high in PART_RANGES:
        values = scores.values[chosen & (scores.parts >= low) & (scores.parts <= high)]
        if len(values) >= min_images:
            yield CalibrationGroup(name, (low, high), encoding, np.sort(values))


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
