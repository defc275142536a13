"""Screening of other data for a trigger that was found."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.metrics import Share
from sanitizer.record import Record
from sanitizer.scan.mixture import Mixture
from sanitizer.scan.robust import deviation, middle

#: Of the innocent images by which a threshold is set at most this share is taken for carriers.
FALSE_ALARMS = 0.001

#: A unit of score, which is about a deviation, never adds more log odds than this.
STEEPEST = 1e9


@dataclass(frozen=True)
class Screening(Record):
    """How images of any class are told from carriers, by the scores of a signature.

    Raises:
        ValueError: a slope out of range.
    """

    threshold: float  #: the score above which an image is taken for a carrier
    slope: float  #: log odds that a unit of score adds, above 0, at most ``STEEPEST``
    false_alarms: Share  #: of images of other classes; of a large set, not used in the search
    found: Share  #: of the images that carry it in the class where it was found

    def __post_init__(self) -> None:
        if not 0 < self.slope <= STEEPEST:
            raise ValueError(f"slope: expected above 0, at most {STEEPEST:g}, got {self.slope}")

    @classmethod
    def of(cls, mixture: Mixture, innocent: np.ndarray, found: Share) -> Self:
        """By :func:`cut`, to which every second of the innocent images is given.

        Args:
            mixture: of the class where it was found.
            innocent: (m,) scores of images of other classes, in random order; m may be 0.
            found: see the class.
        """
        threshold, slope = cut(mixture, innocent[::2])
        return cls(threshold, slope, Share.counted(innocent[1::2] > threshold), found)

    def log_odds(self, scores: np.ndarray) -> np.ndarray:
        """(n,) of carrying it, above 0 above the threshold, for (n,) scores."""
        return self.slope * (scores - self.threshold)


def cut(mixture: Mixture, innocent: np.ndarray) -> tuple[float, float]:
    """The threshold at which both errors are alike, or a higher one for few false alarms, and the
    log odds that a unit of score adds.

    Args:
        mixture: of the class where a trigger was found.
        innocent: (m,) scores of images of other classes; m may be 0.
    """
    many, many_sd = mixture.many, mixture.many_sd
    few, few_sd = mixture.few, mixture.few_sd
    if len(innocent):
        centre = middle(innocent)
        many, many_sd = centre.item(), max(many_sd, deviation(innocent, centre).item())
    threshold = (many * few_sd + few * many_sd) / (many_sd + few_sd)
    if len(innocent):
        allowed = int(FALSE_ALARMS * len(innocent))
        threshold = max(threshold, float(np.sort(innocent)[::-1][allowed]))
    return threshold, abs(few - many) / (many_sd * few_sd)
