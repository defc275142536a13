"""Which classes lost far more images than the rest: an attack often writes one label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sanitizer.fit import standing_out
from sanitizer.summary import ClassCounts


@dataclass(frozen=True)
class RankedClass:
    """A class and what share of its images was removed."""

    counts: ClassCounts
    share: float  #: removed images among its judged ones, 0 to 1
    stands_out: bool  #: far above the rest, and above what chance explains


def rank_classes(
    per_class: Sequence[ClassCounts], limit: float, *, accuse: bool = True
) -> list[RankedClass]:
    """Classes by the share of their judged images that was removed, the largest first.

    Args:
        per_class: all classes.
        limit: the largest p-value that is called poisoned, and so the share of clean images
            that is removed at most; 0 where nothing is called poisoned.
        accuse: False where the set as a whole is suspicious: then no class stands out.
    """
    removed = np.array([one.poisoned for one in per_class], np.int64)
    judged = removed + np.array([one.clean for one in per_class], np.int64)
    out = standing_out(removed, judged, limit) & accuse
    shares = removed / np.maximum(judged, 1)
    ranked = map(RankedClass, per_class, shares.tolist(), out.tolist())
    return sorted(ranked, key=lambda one: (-one.share, -one.counts.poisoned, one.counts.label))
