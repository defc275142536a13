"""Does the calibration fit the set? Three signs that it does not, and which classes stand out.

A backdoor trigger is on some of the images, and mostly under one label: the rest of the set
still looks like the clean images that the calibration was made from. A set that as a whole is
unlike them, because of another camera, size or encoding, loses far more images than was
promised, and looks different:

1. it loses them in nearly all classes, not in those that stand out;
2. its scores do not split in two: above their bulk they get rarer and rarer, without a second
   hump;
3. the images that are kept are more suspicious than clean ones, too.

Only with all three signs the calibration is said not to fit. Everything here is counting, on
arrays; ``benchmarks/wrong_calibration.py`` measures how often it is right.
"""

import math
from dataclasses import dataclass

import numpy as np

from sanitizer.record import Record

#: More than was promised is more than chance explains less often than this.
SIGNIFICANCE = 0.001

#: A class stands out if chance would remove as many of its images less often than this,
#: divided by the number of classes.
CLASS_SIGNIFICANCE = 0.01

#: Of kept images that are like the calibration's, so many at most are among the share with
#: the smallest p-values that this also is.
NEAR = 0.25

#: :func:`rise` of samples of an exponential density, of 1,000 values or more, is below this in
#: 99 % of them; of a flat one, which real scores never have above their median, in 50 %.
RISES = 1.2

#: The smallest tail that is looked at for a second hump, in images.
LEAST_TAIL = 20

#: Scores have six decimals; those nearer to 0 or 1 are all alike.
_EXTREME = 1e-6

#: Of the grid on which the density of a tail is compared.
_CELLS = 2000


@dataclass(frozen=True)
class ScoreShape(Record):
    """How the scores of all judged images lie, as far as that tells of the calibration."""

    rise: float  #: :func:`rise` of the log odds of the scores
    near: int  #: kept images whose p-value is in the lowest quarter of those that are kept
    kept: int  #: judged images that are not removed

    @classmethod
    def of(cls, scores: np.ndarray, p_values: np.ndarray, limit: float) -> "ScoreShape":
        """Of judged images.

        Args:
            scores: (n,) float, 0 to 1.
            p_values: (n,) float, above 0, at most 1.
            limit: the largest p-value of an image that is removed, below 1.
        """
        kept = p_values[p_values > limit + 1e-12]
        near = int(np.count_nonzero(kept <= limit + NEAR * (1 - limit)))
        scores = np.clip(np.asarray(scores, np.float64), _EXTREME, 1 - _EXTREME)
        return cls(rise(np.log(scores / (1 - scores))), near, len(kept))


@dataclass(frozen=True)
class CalibrationFit(Record):
    """Whether a set as a whole is unlike the clean images that decide, and what says so."""

    wrong: bool  #: all three signs are there: the calibration does not fit the set
    classes: int  #: in the set; 1 where there are no labels
    elsewhere_removed: int  #: images removed in classes that do not stand out
    elsewhere_judged: int  #: judged images of these classes
    spread: bool  #: these classes hold most of what is lost beyond the promise
    split: bool  #: the scores split in two
    kept_suspicious: bool  #: the kept images are more suspicious than clean ones
    shape: ScoreShape

    @property
    def doubtful(self) -> bool:
        """The set as a whole is suspicious, so that what a class has lost accuses nobody."""
        return self.kept_suspicious and not self.split

    def doubts(self, removed: int, expected: float) -> bool:
        """Whether it is in doubt, and no more than that, that the calibration fits the set.

        Args:
            removed: images in all.
            expected: of them, if all were clean and like the calibration's.
        """
        return self.doubtful and not self.wrong and removed > expected


def fit(
    removed: np.ndarray,
    judged: np.ndarray,
    shape: ScoreShape,
    limit: float,
    calibration_images: int,
) -> CalibrationFit:
    """Look for the three signs.

    Args:
        removed: (k,) int, images of each class that are removed; a set without labels is one
            class.
        judged: (k,) int, images of each class that were judged.
        shape: of the scores of all of them.
        limit: the largest p-value of an image that is removed, and so the share of clean images
            that is lost at most; 0 where nothing is removed.
        calibration_images: clean images in the group that decided, or the smallest of them.
    """
    out = standing_out(removed, judged, limit)
    elsewhere, of = int(removed[~out].sum()), int(judged[~out].sum())
    beyond = elsewhere - limit * of
    spread = more_than(elsewhere, of, limit, calibration_images) and bool(
        beyond > (removed.sum() - limit * judged.sum()) / 2
    )
    split = shape.rise >= RISES
    suspicious = bool(removed.sum() > shape.kept) or more_than(
        shape.near, shape.kept, NEAR, calibration_images
    )
    wrong = spread and suspicious and not split
    return CalibrationFit(wrong, len(judged), elsewhere, of, spread, split, suspicious, shape)


def more_than(count: int, of: int, share: float, calibration_images: int) -> bool:
    """Whether ``count`` images ``of`` so many are more than ``share`` and chance explain.

    Chance comes in twice. Of images like n clean ones a share is expected beyond the quantile
    of their scores, but those n are a sample: the true share follows the beta distribution of
    order statistics. And the images that are counted are another sample: binomial.

    Args:
        share: expected of clean images at most, 0 to below 1.
        calibration_images: n, at least 1.

    >>> more_than(15, 1000, 0.01, 1500), more_than(50, 1000, 0.01, 1500)
    (False, True)
    >>> more_than(50, 1000, 0.01, 99)
    False
    """
    if not count:
        return False
    from scipy import special  # takes a while to load

    rank = max(1, math.floor(share * (calibration_images + 1) + 1e-9))
    worst = special.betaincinv(rank, calibration_images + 1 - rank, 1 - SIGNIFICANCE)
    return bool(special.bdtrc(count - 1, of, worst) < SIGNIFICANCE)


def standing_out(removed: np.ndarray, judged: np.ndarray, limit: float) -> np.ndarray:
    """Which classes lost far more of their images than the rest, (k,) bool.

    The share of such a class is at least twice that of all other classes together, and twice
    ``limit``; chance explains neither that it is above the others' (of all removed images, so
    many would be in one class by its size: the conditional test of Przyborowski and Wilenski,
    Biometrika 31, 1940) nor that it is above ``limit`` (binomial), even as the worst of all
    classes (Bonferroni).

    Args:
        removed, judged: (k,) int, of each class.
        limit: share of clean images that is lost at most; 0 where nothing is removed.

    >>> standing_out(np.array([40, 2, 1]), np.array([100, 100, 100]), 0.01).tolist()
    [True, False, False]
    """
    lost, images = removed.sum(), judged.sum()
    if not lost:
        return np.zeros(len(removed), bool)
    from scipy import special  # takes a while to load

    # Where the limit is 0, a single image must not stand out against nothing at all.
    least = limit or 1 / images
    share = removed / np.maximum(judged, 1)
    others = (lost - removed) / np.maximum(images - judged, 1)
    # bdtrc(-1, ...) is no probability: nothing lost is always explained.
    at_least = np.maximum(removed, 1) - 1
    by_size = special.bdtrc(at_least, lost, judged / images)
    by_limit = special.bdtrc(at_least, judged, least)
    unlikely = np.maximum(by_size, by_limit) < CLASS_SIGNIFICANCE / len(removed)
    far = share >= 2 * np.maximum(others, least)
    return np.asarray(unlikely & far & (removed > 0))


def rise(values: np.ndarray) -> float:
    """How clearly the density of values rises again above their median; 0: nowhere.

    If it only falls, the distribution function above any point is concave, and as good as its
    least concave majorant. The statistic is the largest distance between the two times the root
    of the number of values, as in tests of a monotone density (Kulikov and Lopuhaä, Annals of
    Statistics 34, 2006) and in the dip of Hartigan and Hartigan (Annals of Statistics 13, 1985).
    It is the largest over the upper half, quarter, eighth and so on of the values, so that a
    small second hump is seen as well as a large one.

    Args:
        values: (n,) finite floats.

    >>> bulk = np.random.default_rng(0).normal(size=2000)
    >>> rise(bulk) < RISES, rise(np.concatenate([bulk, bulk[:40] / 4 + 6])) > RISES
    (True, True)
    """
    ordered = np.sort(values)
    largest, size = 0.0, len(ordered) // 2
    while size >= LEAST_TAIL:
        start, tail = ordered[-size - 1], ordered[-size:]
        largest = max(largest, math.sqrt(size) * _above_majorant(tail, start))
        size //= 2
    return round(largest, 3)


def _above_majorant(tail: np.ndarray, start: float) -> float:
    """How far the distribution function of ascending values above ``start`` is from concave."""
    top = tail[-1]
    if top <= start:
        return 0.0
    grid = np.linspace(start, top, _CELLS + 1)
    below = np.searchsorted(tail, grid, side="right") / len(tail)
    below[0] = 0.0
    hull = [0]
    for i in range(1, len(grid)):
        while len(hull) > 1 and _turns_up(grid, below, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return float((np.interp(grid, grid[hull], below[hull]) - below).max())


def _turns_up(x: np.ndarray, y: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether the line through points a and b turns upwards to point c, or goes straight on."""
    return bool((y[b] - y[a]) * (x[c] - x[a]) <= (y[c] - y[a]) * (x[b] - x[a]))
