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
    return 1 / (1 + np.exp(-np.clip(log_odds, -40, 40)))


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
        for _ in range(steps):
            weight = suspects.sum()
            if not LEAST_WEIGHT <= weight <= len(values) - LEAST_WEIGHT:
                return None
            mixture = cls._of(values, suspects)
            suspects = sigmoid(mixture.log_odds(values) + known)
        return mixture

    @classmethod
    def _of(cls, values: np.ndarray, suspects: np.ndarray) -> Self:
        weight, others = suspects.sum(), (1 - suspects).sum()
        few, many = suspects @ values / weight, (1 - suspects) @ values / others
        few_sd = np.sqrt(suspects @ (values - few) ** 2 / weight)
        many_sd = max(np.sqrt((1 - suspects) @ (values - many) ** 2 / others), LEAST_DEVIATION)
        few_sd = np.clip(few_sd, LEAST_RATIO * many_sd, MOST_RATIO * many_sd)
        return cls(*map(float, (weight / len(values), many, many_sd, few, few_sd)))

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """Log posterior odds of being one of the few, (n,).

        Beyond the two means they stay what they are there: with unequal variances they would
        turn round far out, and the most extreme of all would be innocent.
        """
        values = np.clip(values, min(self.many, self.few), max(self.many, self.few))
        few = -0.5 * ((values - self.few) / self.few_sd) ** 2 - np.log(self.few_sd)
        many = -0.5 * ((values - self.many) / self.many_sd) ** 2 - np.log(self.many_sd)
        return np.log(self.share / (1 - self.share)) + few - many

    @property
    def separation(self) -> float:
        """Distance of the means in units of the root mean square of the two deviations (d')."""
        return abs(self.few - self.many) / float(np.sqrt((self.many_sd**2 + self.few_sd**2) / 2))
