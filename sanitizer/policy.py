"""From scores to verdicts: conformal p-values against clean calibration images.

The p-value of a score s against n clean scores is ``(1 + #{clean >= s}) / (1 + n)``
(Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005). An image is
called poisoned when its p-value is at most the clean loss that the user accepts; then, of
clean images that are exchangeable with the calibration images, at most that share is lost.

Nobody knows which clean images a stranger's set resembles. So a detector carries several
groups of calibration scores (data sets, encoding histories), and the p-value of an image is
its largest over the groups: the promise then holds for each group and for every mixture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sanitizer.record import Record


@dataclass(frozen=True)
class CalibrationGroup:
    """Scores of clean images of one kind."""

    name: str  #: data set and encoding history, such as "cifar10 jpeg q75"
    min_tiles: int  #: the group speaks for images of at least so many tiles
    max_tiles: int  #: and of at most so many
    scores: np.ndarray  #: (n,) float32, ascending, 0 to 1

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """Conformal p-values, (m,) float64, of (m,) scores."""
        n = len(self.scores)
        at_least = n - np.searchsorted(self.scores, scores.astype(np.float32), side="left")
        return (1 + at_least) / (1 + n)

    def threshold(self, max_clean_loss: float) -> float:
        """The score above which the p-value is at most ``max_clean_loss``."""
        allowed = int(np.floor(max_clean_loss * (1 + len(self.scores)) + 1e-9)) - 1
        return float(self.scores[len(self.scores) - 1 - allowed])


@dataclass(frozen=True)
class Judgement:
    """What a policy says of a batch of scores."""

    p_values: np.ndarray  #: (n,) float64, above 0, at most 1
    poisoned: np.ndarray  #: (n,) bool
    groups: list[str]  #: for each score, the calibration group that decided


class ConformalPolicy:
    """Flags what is too suspicious for every group of clean images that it knows.

    Args:
        groups: the calibration.
        max_clean_loss: the share of clean images that may be flagged, above 0, at most 0.5.

    Raises:
        ValueError: a clean loss out of range, no groups, unsorted or non-finite scores,
            or a group so small that no score could ever reach ``max_clean_loss``.
    """

    def __init__(self, groups: Sequence[CalibrationGroup], max_clean_loss: float):
        if not 0 < max_clean_loss <= 0.5:
            raise ValueError(f"max clean loss: expected above 0, at most 0.5, got {max_clean_loss}")
        if not groups:
            raise ValueError("calibration: expected at least one group of clean scores, got none")
        for group in groups:
            if not np.isfinite(group.scores).all() or (np.diff(group.scores) < 0).any():
                raise ValueError(f"calibration group {group.name!r}: expected sorted finite scores")
            if 1 / (1 + len(group.scores)) > max_clean_loss + 1e-12:
                needed = int(np.ceil(1 / max_clean_loss - 1e-9)) - 1
                raise ValueError(
                    f"calibration group {group.name!r} has {len(group.scores)} clean images; a "
                    f"clean loss of {max_clean_loss:g} needs at least {needed}: "
                    "give more clean images or allow a larger clean loss"
                )
        self.groups = tuple(groups)
        self.max_clean_loss = max_clean_loss

    def covers(self, tile_count: int) -> bool:
        """Whether some group speaks for images of so many tiles."""
        return any(g.min_tiles <= tile_count <= g.max_tiles for g in self.groups)

    def judge(self, scores: np.ndarray, tile_counts: np.ndarray) -> Judgement:
        """Judge (n,) scores of images of (n,) tiles each.

        Raises:
            ValueError: a score that is not finite or not in [0, 1], or a number of tiles
                for which no group speaks.
        """
        if not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()):
            raise ValueError("expected scores in [0, 1], got NaN or a value outside")
        p_values = np.zeros(len(scores))
        decider = np.full(len(scores), -1)
        for index, group in enumerate(self.groups):
            mine = (tile_counts >= group.min_tiles) & (tile_counts <= group.max_tiles)
            found = group.p_values(scores)
            higher = mine & (found > p_values)
            p_values[higher] = found[higher]
            decider[higher] = index
        if (decider < 0).any():
            orphan = int(tile_counts[decider < 0][0])
            raise ValueError(f"no calibration group speaks for images of {orphan} tiles")
        # 1e-12: 1 / 100 and 0.01 must not differ by rounding.
        poisoned = p_values <= self.max_clean_loss + 1e-12
        return Judgement(p_values, poisoned, [self.groups[i].name for i in decider])

    def thresholds(self) -> dict[str, float]:
        """For each range of tile counts the score above which an image is flagged."""
        found: dict[str, float] = {}
        for group in self.groups:
            key = f"{group.min_tiles}-{group.max_tiles} tiles"
            found[key] = max(found.get(key, 0.0), group.threshold(self.max_clean_loss))
        return found


@dataclass(frozen=True)
class Decision(Record):
    """What a policy decided over all scores of a set."""

    policy: str  #: its name
    limit: float  #: the largest p-value that is called poisoned; 0 where none is
    judged: int  #: images with a score
    removed: int  #: of them, called poisoned
    expected_innocents: float  #: of the removed, at most, on average
    words: str  #: the same in a sentence

    def poisoned(self, p_values: np.ndarray) -> np.ndarray:
        """(n,) bool: which of (n,) p-values are called poisoned."""
        return p_values <= self.limit + 1e-12
