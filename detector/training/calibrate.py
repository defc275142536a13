"""A detector meets clean images that it was not trained on: their scores calibrate it."""

from collections.abc import Iterable, Mapping

import numpy as np

from detector.calibration import MIN_IMAGES, PART_RANGES, Calibration, CalibrationGroup
from detector.model import Detector


def calibrate(
    detector: Detector,
    images: Mapping[str, Iterable[np.ndarray]],
    min_images: int = MIN_IMAGES,
) -> Calibration:
    """A calibration by clean images that the detector was never trained on.

    Args:
        images: decoded clean images, (h, w, 3) uint8, by data set and encoding history.
        min_images: a range of parts with fewer images gives no group; 99 is what a clean
            loss of 1 % needs.

    Returns:
        For each name one group for each range of parts that it has images of.

    Raises:
        ImageError: an image that the detector does not judge.
    """
    groups = []
    for name, pixels in images.items():
        scores = detector.score([detector.inputs.cut(image) for image in pixels])
        for low, high in PART_RANGES:
            within = (scores.parts >= low) & (scores.parts <= high)
            if np.count_nonzero(within) >= min_images:
                groups.append(CalibrationGroup(name, low, high, np.sort(scores.values[within])))
    return Calibration(tuple(groups))
