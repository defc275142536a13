"""Figures of merit of a detector, with 95 % confidence intervals.

A *positive* is a poisoned sample. FPR is the share of clean samples flagged, felt as clean
loss; BDR, the backdoor detection rate of Zeng et al. (ICCV 2021), the share of poisoned
samples flagged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.record import Record

#: Two-sided 95 % point of the standard normal distribution.
Z95 = 1.959963984540054


def rate(flagged: np.ndarray) -> float:
    """Share of True among (n,) bool, n >= 1: the FPR of clean, the BDR of poisoned samples."""
    return float(np.mean(_filled(flagged, "flagged")))


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson, JASA 22, 1927); sound at 0 and at n too.

    Raises:
        ValueError: n < 1, or successes outside 0 to n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Rounding must not leave the share itself outside.
    return max(0.0, min(p, (centre - half) / scale)), min(1.0, max(p, (centre + half) / scale))


@dataclass(frozen=True)
class Estimate(Record):
    """A figure and its 95 % confidence interval; both None where there is nothing to measure."""

    value: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Share(Estimate):
    """How many of how many; the interval is Wilson's.

    Raises:
        ValueError: a count outside 0 to ``of``.
    """

    count: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.of:
            raise ValueError(f"count: expected from 0 to {self.of} of them, got {self.count}")

    @classmethod
    def counted(cls, flagged: np.ndarray) -> Self:
        """The share of True among (n,) bool; n may be 0.

        >>> Share.counted(np.array([True, False, False, False])).value
        0.25
        """
        return cls.from_counts(int(np.sum(flagged)), len(flagged))

    @classmethod
    def from_counts(cls, count: int, n: int) -> Self:
        """The share of ``count`` among n; n may be 0."""
        return cls(count / n if n else None, wilson(count, n) if n else None, count, n)


def balanced_accuracy(bdr: Share, fpr: Share) -> Estimate:
    """Accuracy over as many clean as poisoned samples; no value where either are missing.

    Both halves have a Wilson interval of their own; that of the mean follows from them as in
    Newcombe, "Interval estimation for the difference between independent proportions" (Statistics
    in Medicine 17, 1998), method 10.

    >>> balanced_accuracy(Share.from_counts(3, 4), Share.from_counts(1, 4)).value
    0.75
    """
    if bdr.value is None or bdr.interval is None or fpr.value is None or fpr.interval is None:
        return Estimate(None, None)
    value = (1 + bdr.value - fpr.value) / 2
    below = math.hypot(bdr.value - bdr.interval[0], fpr.interval[1] - fpr.value) / 2
    above = math.hypot(bdr.interval[1] - bdr.value, fpr.value - fpr.interval[0]) / 2
    return Estimate(value, (value - below, value + above))


def pooled(figures: Sequence[Estimate | None]) -> Estimate:
    """One figure of several runs, at least one, each within 0 to 1.

    Returns:
        Of a single run its own figure; of several the mean and the interval of Student's t, but
        no interval where all are alike, which says nothing of how far others would lie; without a
        value where a run has none.
    """
    if len(figures) == 1 and figures[0] is not None:
        return Estimate(figures[0].value, figures[0].interval)
    values = [figure.value for figure in figures if figure and figure.value is not None]
    if len(values) < len(figures):
        return Estimate(None, None)
    mean = float(np.mean(values))
    if len(set(values)) == 1:
        return Estimate(mean, None)
    from scipy import special  # takes a while to load

    t = float(special.stdtrit(len(values) - 1, 0.975))
    half = t * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, (max(0.0, mean - half), min(1.0, mean + half)))


def auroc(clean: np.ndarray, poisoned: np.ndarray) -> float:
    """Area under the ROC curve: how often a poisoned sample outscores a clean one.

    The Mann-Whitney statistic over its largest value; ties count one half.

    Args:
        clean, poisoned: (n,) and (m,) finite scores, n and m >= 1.
    """
    clean = np.sort(_filled(clean, "clean"))
    poisoned = _filled(poisoned, "poisoned")
    below = np.searchsorted(clean, poisoned, side="left")
    not_above = np.searchsorted(clean, poisoned, side="right")
    return float((below + not_above).mean() / (2 * len(clean)))


def auroc_interval(
    clean: np.ndarray, poisoned: np.ndarray, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap of :func:`auroc` (Efron, 1979), both classes redrawn."""
    rng = np.random.default_rng(seed)
    areas = [
        auroc(rng.choice(clean, len(clean)), rng.choice(poisoned, len(poisoned)))
        for _ in range(rounds)
    ]
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def threshold_at_fpr(clean: np.ndarray, fpr: float) -> float:
    """The clean score that at most ``fpr`` of (n,) clean scores exceed, n >= 1."""
    clean = np.sort(_filled(clean, "clean"))
    return float(clean[len(clean) - 1 - math.floor(fpr * len(clean) + 1e-9)])


def bdr_at_fpr(clean: np.ndarray, poisoned: np.ndarray, fpr: float) -> float:
    """Share of poisoned scores above the threshold that at most ``fpr`` of clean ones exceed."""
    return rate(_filled(poisoned, "poisoned") > threshold_at_fpr(clean, fpr))


def _filled(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"{name}: expected at least one finite value in one dimension")
    return values
