"""A mixture of two normal distributions on a line: the many, and the few beside them."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.scan.robust import LEAST_DEVIATION

#: The few vary at least and at most by this factor as much as the many.
LEAST_RATIO, MOST_RATIO = 0.5, 2.0

#: Below this weight a component has no variance worth the name.
LEAST_WEIGHT = 4.0


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    """Log odds to probabilities, without overflow."""
    odds = np.minimum(log_odds, 40)
    np.maximum(odds, -40, out=odds)
    np.negative(odds, out=odds)
    np.exp(odds, out=odds)
    odds += 1
    return np.reciprocal(odds, out=odds)


@dataclass(frozen=True)
class Mixture:
    """Two normal distributions and the share of the second."""

    share: float  #: of the few, 0 to 1
    many: float  #: mean of the many
    many_sd: float
    few: float  #: mean of the few
    few_sd: float

    @classmethod
    def fit(
        cls, values: np.ndarray, suspects: np.ndarray, steps: int, known: np.ndarray | float = 0.0
    ) -> Self | None:
        """Expectation-maximisation (Dempster, Laird, Rubin, JRSS B 39, 1977).

        Args:
            values: (n,) scores.
            suspects: (n,) probabilities of being one of the few, to start from.
            steps: of the algorithm.
            known: (n,) log odds of being one of the few by something else than the scores.

        Returns:
            The mixture; None where one of the two dies out.
        """
        mixture = None
        powers = np.stack([np.ones(len(values)), values, values**2])
        sums = powers.sum(1)
        for _ in range(steps):
            if mixture is not None:
                suspects = sigmoid(mixture.log_odds(values) + known)
            of_few = powers @ suspects
            if not LEAST_WEIGHT <= of_few[0] <= len(values) - LEAST_WEIGHT:
                return None
            mixture = cls._of(of_few, sums - of_few)
        return mixture

    @classmethod
    def _of(cls, of_few: np.ndarray, of_many: np.ndarray) -> Self:
        """Args: the number of the few, and of the many, and sums of their values and squares."""
        (weight, few, few_square), (others, many, many_square) = (
            (sums[0], *(sums[1:] / sums[0])) for sums in (of_few, of_many)
        )
        many_sd = max(np.sqrt(max(many_square - many**2, 0)), LEAST_DEVIATION)
        few_sd = np.sqrt(max(few_square - few**2, 0))
        few_sd = np.clip(few_sd, LEAST_RATIO * many_sd, MOST_RATIO * many_sd)
        return cls(*map(float, (weight / (weight + others), many, many_sd, few, few_sd)))

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """Log posterior odds of being one of the few, (n,).

        Beyond the two means they stay what they are there: with unequal variances they would
        turn round far out, and the most extreme of all would be innocent.
        """
        few = np.minimum(values, max(self.many, self.few))
        np.maximum(few, min(self.many, self.few), out=few)
        many = (few - self.many) / self.many_sd
        few -= self.few
        few /= self.few_sd
        few *= few
        many *= many
        many -= few
        many /= 2
        many += np.log(self.share / (1 - self.share) * self.many_sd / self.few_sd)
        return many

    @property
    def separation(self) -> float:
        """Distance of the means in units of the root mean square of the two deviations (d')."""
        return abs(self.few - self.many) / float(np.sqrt((self.many_sd**2 + self.few_sd**2) / 2))
