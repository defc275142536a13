"""Where in an image the detector sees most, for people who look at it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from detector.inputs import Box
from pipelines.judging.calibration import load_detector
from sanitizer.errors import FreqsanError

if TYPE_CHECKING:
    from detector.model import Detector


def locator(address: str, identity: str) -> "Callable[[np.ndarray], Box | None] | None":
    """What tells where an image looks most manipulated, by the detector that scored a run.

    Args:
        address: of the detector, a bundled name or a directory.
        identity: that its scores carry.

    Returns:
        A function of (height, width, 3) uint8 pixels; None where that detector is not to be had any
        more, such as one in a directory that is gone.
    """
    try:
        detector: Detector = load_detector(address, "cpu")
    except FreqsanError:
        return None
    return detector.most_suspicious if detector.identity == identity else None
