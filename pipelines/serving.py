"""Ask before a model answers: does this image carry a trigger?

A plain call for a server, without Beam. It judges as ``clean`` does, by the same code.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.model import Detector
from pipelines.batches import prepare
from pipelines.calibration import DEFAULT_DETECTOR, calibrate, load_detector
from pipelines.errors import InputError
from pipelines.judging import verdicts
from sanitizer.policy import ConformalPolicy
from sanitizer.records import CLEAN

Images = np.ndarray | Sequence[np.ndarray | bytes | None]


@dataclass(frozen=True)
class Judged:
    """What is known of n images."""

    rejected: np.ndarray  #: (n,) bool, True: do not classify
    p_values: np.ndarray  #: (n,) float64, above 0, at most 1; NaN where it could not be judged
    scores: np.ndarray  #: (n,) float32, 0 to 1, higher is more suspicious; NaN likewise
    reasons: list[str]  #: in words, what decided


def reject(
    images: Images,
    detector: str = DEFAULT_DETECTOR,
    max_clean_loss: float = 0.01,
    trusted: str | Path | None = None,
) -> np.ndarray:
    """Which images a model should not classify.

    An image that cannot be judged is rejected: one that does not decode, of a size that the
    detector does not judge, or that no calibration speaks for.

    Args:
        images: (n, h, w, 3) uint8, or a sequence whose elements are (h, w, 3) uint8 pixels,
            encoded images, or None where there is none; as they came, before any resizing.
        detector: name of a bundled detector, or directory of one. It is loaded once in a
            process, at the first call.
        max_clean_loss: the share of clean images that may be rejected, above 0, at most 0.5.
        trusted: clean images to calibrate on, any kind of input; None: the detector's own.

    Returns:
        (n,) bool, True for those to reject.

    Raises:
        InputError: pixels of another shape or dtype, no such detector, a clean loss out of
            range, or trusted images that cannot be used.
    """
    return judge(images, detector, max_clean_loss, trusted).rejected


def judge(
    images: Images,
    detector: str = DEFAULT_DETECTOR,
    max_clean_loss: float = 0.01,
    trusted: str | Path | None = None,
) -> Judged:
    """As :func:`reject`, with p-values, scores and reasons."""
    loaded, policy = _judge(str(detector), max_clean_loss, trusted and str(trusted))
    found = verdicts(map(prepare, _checked(images)), loaded, policy)
    return Judged(
        rejected=np.array([one.verdict != CLEAN for one in found], bool),
        p_values=np.array([one.p_value for one in found], np.float64),
        scores=np.array([one.score for one in found], np.float32),
        reasons=[one.reason for one in found],
    )


@functools.lru_cache(maxsize=8)
def _judge(
    detector: str, max_clean_loss: float, trusted: str | None
) -> tuple[Detector, ConformalPolicy]:
    loaded = load_detector(detector)
    calibration = calibrate(loaded, max_clean_loss, trusted, quiet=True)
    return loaded, ConformalPolicy(calibration.groups, max_clean_loss)


def _checked(images: Images) -> Images:
    """Pixels of another form are a mistake in the caller's program, not a suspicious image.

    Raises:
        InputError: neither pixels nor encoded images.
    """
    for image in images:
        if image is None or isinstance(image, bytes):
            continue
        pixels = np.asarray(image)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise InputError(
                "images: expected (h, w, 3) uint8 pixels or encoded bytes each, got "
                f"{pixels.shape} {pixels.dtype}; give a single image as [image]"
            )
    return images
