"""What images show: their low frequencies, in coordinates that take no side.

Whitened by a covariance, the images that it was made of vary equally in all directions, and fresh
ones do not: of few images the directions in which they vary least are partly chance. A class seen
so would vary in fewer ways than others only because it is fresh. So both are: the coordinates are
made by images that are compared with nothing.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from sanitizer.scan.moments import Whitening
from sanitizer.scan.pictures import varying

#: The least squared distance of two means, in whitened units.
LEAST_DISTANCE = 1e-3

#: Of a class of fewer images it cannot be told how far it lies from others.
LEAST_IMAGES = 30


@dataclass(frozen=True)
class Contents:
    """What a class shows, beside other classes."""

    own: np.ndarray  #: (n, d) float32, whitened
    others: np.ndarray  #: (m, d) float32, the same of images of other classes
    fresh: np.ndarray  #: (m,) bool, those of them that the coordinates were not made by
    usual_distance: float  #: squared distance of a class of the set from all images, the median

    @classmethod
    def of(
        cls,
        own: np.ndarray,
        others: np.ndarray,
        fresh: np.ndarray,
        by: Whitening,
        usual_distance: float,
    ) -> Self:
        """By standardised low frequencies, those of them that vary in other classes.

        Args:
            own: (n, d) of the class.
            others: (m, d) of other classes.
            fresh: (m,) bool, those of them that the whitening was not made by.
            by: the whitening.
            usual_distance: see the class.
        """
        white = by(others)
        shown = varying(white[fresh])
        return cls(by(own)[:, shown], white[:, shown], fresh, usual_distance)

    def only(self, chosen: np.ndarray) -> Self:
        """(n,) bool: some of the class."""
        return replace(self, own=self.own[chosen])

    def among_others(self, chosen: np.ndarray) -> Self:
        """(n,) bool: some of the class with every second of the others, beside the other half."""
        own = np.concatenate([self.own[chosen], self.others[::2]])
        return replace(self, own=own, others=self.others[1::2], fresh=self.fresh[1::2])

    @cached_property
    def fresh_others(self) -> np.ndarray:
        """(k, d) what other classes show, to compare with."""
        return self.others[self.fresh]


def squared_distance(vectors: np.ndarray, others: np.ndarray) -> float:
    """Of the means of (n, d) and (m, d) vectors, without the noise of the first; at least
    ``LEAST_DISTANCE``.
    """
    ways = [vectors[part::2].mean(0) - others.mean(0) for part in (0, 1)]
    return max(float(ways[0] @ ways[1]), LEAST_DISTANCE)


def usual_distance(contents: np.ndarray, labels: np.ndarray) -> float:
    """Squared distance of a class from all images, the median of classes that are large enough.

    Args:
        contents: (n, d) float32, whitened.
        labels: (n,) of any dtype.
    """
    _, of_class = np.unique(labels, return_inverse=True)
    large = np.flatnonzero(np.bincount(of_class) >= LEAST_IMAGES)
    distances = [squared_distance(contents[of_class == one], contents) for one in large]
    return float(np.median(distances)) if distances else LEAST_DISTANCE
