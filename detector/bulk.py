"""What a set tells of its own clean images: p-values from the bulk of its scores.

Most images of a set are clean, and its lower scores are nearly all theirs. Where the upper end of
the clean scores lies is inferred from there: how far above the median it is, in units of the spread
below the median, is regressed on where the bulk lies and what shape it has. The regression is
learnt from the calibration groups and mixtures of them, in log odds. It tells multiples of a set's
own spread, by features that are kept within what the groups have, and never less than the smallest
multiple of a group: so it holds for sets that score far lower or higher than all of them.

What a trigger does to a tenth or two of the scores hardly moves their lower half, and moves it up,
to where fewer images are removed. ``benchmarks/detection.py`` measures what is promised and kept,
up to 30 % poison.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np

from detector.calibration import Calibration, CalibrationGroup
from detector.kinds import ENCODINGS, PART_RANGES, in_words
from detector.scores import Scores, log_odds

#: Images of a kind that a set has to have before they are judged by each other; and fewer where
#: they are a tenth of the set: a handful among many may all be poison.
ENOUGH, FEWEST, TENTH = 100, 30, 0.1

#: Calibration groups of images of a size from which the regression can be learnt.
FEWEST_GROUPS = 3

#: Shares of clean images for whose scores the regression is asked; between them p-values are
#: interpolated, and below the last they do not go.
SHARES = np.array([0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001])

#: Quantiles beside the median that the regression looks at: what is above, poison moves most.
_BULK = np.array([0.05, 0.2, 0.35])

#: Features further than so many standard deviations from those of the groups count as so far.
_FARTHEST = 3.0

#: Mixtures that the regression is learnt from, of groups and of unusual ones, images of each, and
#: the weight of its ridge.
_MIXTURES, _UNUSUAL, _MIXED, _RIDGE = 1500, 500, 2000, 1e-2

#: What the regression tells too little for this share of the mixtures of groups is added.
_ALLOWED = 0.7

#: A spread of log odds below this is none.
_LEAST_SPREAD = 1e-3


def enough(images: int, of: int) -> bool:
    """Whether so many images of a kind are judged by each other, in a set of so many judged ones.

    >>> enough(100, 10_000), enough(40, 400), enough(40, 401), enough(29, 29)
    (True, True, False, False)
    """
    return images >= ENOUGH or (images >= FEWEST and images >= TENTH * of)


@dataclass(frozen=True)
class Curve:
    """p-values of images of one kind in one set, by score."""

    scores: np.ndarray  #: (k,) float64, ascending log odds
    p_values: np.ndarray  #: (k,) float64, descending, above 0, at most 1

    def p_value(self, scores: np.ndarray) -> np.ndarray:
        """(n,) float64 of (n,) float scores from 0 to 1, above 0, at most 1."""
        logarithms = np.interp(log_odds(scores), self.scores, np.log(self.p_values))
        return np.exp(logarithms)

    def threshold(self, limit: float) -> float | None:
        """The score above which the p-value is at most ``limit``; None: no score reaches it."""
        if limit < self.p_values[-1]:
            return None
        odds = np.interp(-np.log(limit), -np.log(self.p_values), self.scores)
        return float(1 / (1 + np.exp(-odds)))


class Bulk:
    """The regression, learnt from the calibration groups of images of one range of sizes.

    Args:
        groups: at least one.
        unusual: of images of the same sizes; their scores have long tails, which the regression
            is to know of, though what it misses of them asks for no allowance.
    """

    def __init__(
        self, groups: tuple[CalibrationGroup, ...], unusual: tuple[CalibrationGroup, ...] = ()
    ):
        clean = [log_odds(group.scores) for group in groups]
        odd = [log_odds(group.scores) for group in unusual]
        of_groups = _Shapes.of(clean)
        # A set whose images are nearly all alike has a spread that says nothing.
        self._lowest = of_groups.ends.min(axis=0)
        self._fewest = of_groups.multiples.min(axis=0)
        mixtures = _Shapes.of([*_mixtures(clean, _MIXTURES), *_mixtures(odd, _UNUSUAL)])
        shapes, uppers = mixtures.features, mixtures.multiples
        self._middle, self._spread = shapes.mean(0), shapes.std(0) + 1e-6
        known = self._inputs(shapes)
        ridge = _RIDGE * len(known) * np.diag([1.0] * shapes.shape[1] + [0.0])
        self._weights = np.linalg.solve(known.T @ known + ridge, known.T @ uppers)
        missed = (uppers - known @ self._weights)[:_MIXTURES]
        self._missed = np.quantile(missed, _ALLOWED, axis=0)

    def curve(self, scores: np.ndarray) -> Curve:
        """The p-values of images like these.

        Args:
            scores: (n,) float, 0 to 1, of all images of a kind in a set, ``FEWEST`` at least.
        """
        odds = log_odds(scores)
        shape = _Shapes.of([odds])
        multiples = self._inputs(shape.features) @ self._weights + self._missed
        multiples = np.maximum(multiples, self._fewest)
        upper = (shape.median[:, None] + shape.spread[:, None] * multiples)[0]
        upper = np.maximum(upper, self._lowest)
        at = np.array([odds.min(), shape.median[0], *upper])
        # np.interp needs them ascending; where two are the same, the larger p-value holds.
        at = np.maximum.accumulate(at) + 1e-9 * np.arange(len(at))
        return Curve(at, np.array([1, 0.5, *SHARES]))

    def _inputs(self, features: np.ndarray) -> np.ndarray:
        """(n, k + 1) of (n, k) features: standardised, bounded, and 1."""
        standard = np.clip((features - self._middle) / self._spread, -_FARTHEST, _FARTHEST)
        return np.concatenate([standard, np.ones((len(features), 1))], axis=1)


class _Shapes(NamedTuple):
    """Of n distributions of log odds the lower and middle part, and where the upper one ends."""

    median: np.ndarray  #: (n,) float64
    spread: np.ndarray  #: (n,) from the 10 % quantile to the median
    features: np.ndarray  #: (n, k) float64
    ends: np.ndarray  #: (n, len(SHARES)) the log odds above which those shares are

    @classmethod
    def of(cls, several: Sequence[np.ndarray]) -> "_Shapes":
        """Of n arrays of log odds."""
        quantiles = _quantiles(several, np.array([0.1, 0.5, *_BULK, *(1 - SHARES)]))
        low, median = quantiles[:, 0], quantiles[:, 1]
        bulk, ends = np.split(quantiles[:, 2:], [len(_BULK)], axis=1)
        spread = np.maximum(median - low, _LEAST_SPREAD)
        places = (bulk - median[:, None]) / spread[:, None]
        # Not np.log: its last bit depends on the processor.
        logarithms = np.array([math.log(one) for one in spread.tolist()])
        features = np.concatenate([places, median[:, None], logarithms[:, None]], axis=1)
        return cls(median, spread, features, ends)

    @property
    def multiples(self) -> np.ndarray:
        """(n, len(SHARES)) how far above the median the ends are, in spreads."""
        return (self.ends - self.median[:, None]) / self.spread[:, None]


def _quantiles(several: Sequence[np.ndarray], shares: np.ndarray) -> np.ndarray:
    """(n, k) the quantiles of n arrays.

    Those of equal length are looked at together: one call for each would take most of its time
    around the work.
    """
    lengths = np.array([len(one) for one in several])
    quantiles = np.empty((len(several), len(shares)))
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length).tolist()
        stack = np.stack([several[i] for i in alike])
        quantiles[alike] = np.quantile(stack, shares, axis=1, overwrite_input=True).T
    return quantiles


@lru_cache(maxsize=len(PART_RANGES))  # who judges many sets has mostly one calibration
def _learnt(groups: tuple[CalibrationGroup, ...], unusual: tuple[CalibrationGroup, ...]) -> Bulk:
    return Bulk(groups, unusual)


def _mixtures(groups: Sequence[np.ndarray], n: int) -> list[np.ndarray]:
    """Images drawn from one to three groups, in random shares; none where there is no group."""
    rng = np.random.default_rng(0)
    mixtures = []
    for _ in range(n if groups else 0):
        number = min(len(groups), int(rng.integers(1, 4)))
        chosen = rng.choice(len(groups), number, replace=False)
        counts = np.ceil(_MIXED * rng.dirichlet(np.ones(number))).astype(int)
        drawn = [rng.choice(groups[i], size) for i, size in zip(chosen, counts, strict=True)]
        mixtures.append(np.concatenate(drawn))
    return mixtures


@dataclass(frozen=True)
class OwnScale:
    """How the images of a set are judged by the set itself: a curve for each kind it has enough of.

    >>> OwnScale().curves
    {}
    """

    #: By the place of the range of parts in ``PART_RANGES``, and the encoding.
    curves: Mapping[tuple[int, int], Curve] = field(default_factory=dict)

    @classmethod
    def of(cls, calibration: Calibration, scores: Scores) -> Self:
        """Learnt from all judged images of a set.

        Args:
            calibration: of the detector that scored them.
        """
        curves = {}
        for size, parts in enumerate(PART_RANGES):
            groups, unusual = (
                tuple(group for group in several if group.parts == parts)
                for several in (calibration.groups, calibration.unusual)
            )
            of_size = (scores.parts >= parts[0]) & (scores.parts <= parts[1])
            if len(groups) < FEWEST_GROUPS or np.count_nonzero(of_size) < FEWEST:
                continue
            bulk = _learnt(groups, unusual)
            for encoding in range(len(ENCODINGS)):
                alike = scores.values[of_size & (scores.encodings == encoding)]
                if enough(len(alike), len(scores)):
                    curves[size, encoding] = bulk.curve(alike)
        return cls(curves)

    @staticmethod
    def can_be_learnt(calibration: Calibration) -> bool:
        """Whether the groups of some range of sizes are enough to learn from."""
        sizes = Counter(group.parts for group in calibration.groups)
        return any(sizes[parts] >= FEWEST_GROUPS for parts in PART_RANGES)

    def p_values(self, scores: Scores, stored: np.ndarray) -> np.ndarray:
        """The p-values of n images of the set, (n,) float64.

        Args:
            stored: (n,) those by the calibration groups, which hold where there is no curve.
        """
        p_values = np.array(stored, np.float64)
        for kind, curve in self.curves.items():
            mine = self._are(kind, scores)
            p_values[mine] = curve.p_value(scores.values[mine])
        return p_values

    def covers(self, scores: Scores) -> np.ndarray:
        """Which of n images are judged by the set itself, (n,) bool."""
        covered = np.zeros(len(scores), bool)
        for kind in self.curves:
            covered |= self._are(kind, scores)
        return covered

    def thresholds(self, limit: float) -> dict[str, float]:
        """By kind in words, the score above which the p-value is at most ``limit``, above 0."""
        reached = {
            in_words(PART_RANGES[size], encoding): curve.threshold(limit)
            for (size, encoding), curve in self.curves.items()
        }
        return {kind: score for kind, score in reached.items() if score is not None}

    @staticmethod
    def _are(kind: tuple[int, int], scores: Scores) -> np.ndarray:
        """Which of n images are of a kind, (n,) bool."""
        size, encoding = kind
        low, high = PART_RANGES[size]
        return (scores.parts >= low) & (scores.parts <= high) & (scores.encodings == encoding)
