"""How many innocent images a run has lost and how many poisoned ones missed, by its own odds.

Nobody knows the truth of a suspect set. But scores and findings come with probabilities, and these
add up: to expected numbers, with intervals as wide as chance makes them. Where what they rest on
does not hold, neither do the numbers, so whoever tells them says what that is.
"""

import math
from dataclasses import dataclass
from typing import Self

from scipy.special import pdtrik

#: Probability that the truth lies within an interval, if its assumption holds.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Expected:
    """A number of images that nobody has counted."""

    expected: float
    low: int  #: of the interval, ``CONFIDENCE``
    high: int

    @classmethod
    def of(cls, expected: float, most: int) -> Self:
        """Of images that are innocent, or poisoned, each by its own small chance.

        Their number has less spread than a Poisson distribution of that mean, so the interval of
        the latter holds at least as often as it says.

        Args:
            expected: the sum of the chances.
            most: there cannot be more.

        >>> Expected.of(2.0, 60)
        Expected(expected=2.0, low=0, high=5)
        """
        expected = min(expected, float(most))
        low, high = poisson_interval(expected)
        return cls(expected, min(low, most), min(high, most))

    @classmethod
    def excess(cls, found: int, expected: float) -> Self:
        """Of images beyond those that chance explains; both of these vary as counts do.

        >>> Expected.excess(130, 100.0)
        Expected(expected=30.0, low=0, high=60)
        """
        beyond, spread = found - expected, 1.96 * math.sqrt(found + expected)
        low, high = max(0, math.floor(beyond - spread)), max(0, math.ceil(beyond + spread))
        return cls(max(0.0, beyond), low, min(high, found))


def poisson_interval(mean: float) -> tuple[int, int]:
    """The least and the largest count of the middle ``CONFIDENCE`` of a Poisson distribution.

    >>> poisson_interval(0.0), poisson_interval(100.0)
    ((0, 0), (81, 120))
    """
    if mean <= 0:
        return 0, 0
    tail = (1 - CONFIDENCE) / 2
    low, high = (max(0, math.ceil(pdtrik(share, mean))) for share in (tail, 1 - tail))
    return low, high
