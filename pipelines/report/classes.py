"""Which classes lost far more images than the rest: an attack often writes one label."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from sanitizer.summary import ClassCounts

#: A class stands out if chance would remove as many of its images less often than this,
#: divided by the number of classes.
SIGNIFICANCE = 0.01


@dataclass(frozen=True)
class RankedClass:
    """A class and what share of its images was removed."""

    counts: ClassCounts
    share: float  #: removed images among its judged ones, 0 to 1
    stands_out: bool  #: far above the rest, and above what chance explains


def rank_classes(per_class: Sequence[ClassCounts], limit: float) -> list[RankedClass]:
    """Classes by the share of their judged images that was removed, the largest first.

    A class stands out if that share is at least twice the usual one, which is that of all
    other classes together or, if larger, ``limit``; and if so many removals by chance at the
    usual share are unlikely even as the worst of all classes (binomial, Bonferroni).

    Args:
        per_class: all classes.
        limit: the largest p-value that is called poisoned, and so the share of clean images
            that is removed at most; 0 where nothing is called poisoned.
    """
    removed = sum(one.poisoned for one in per_class)
    judged = removed + sum(one.clean for one in per_class)
    # Where the limit is 0, a single image must not stand out against nothing at all.
    least = limit or 1 / max(judged, 1)

    def ranked(one: ClassCounts) -> RankedClass:
        mine = one.poisoned + one.clean
        usual = max((removed - one.poisoned) / max(judged - mine, 1), least)
        share = one.poisoned / max(mine, 1)
        by_chance = special.bdtrc(one.poisoned - 1, mine, usual) if one.poisoned else 1.0
        unlikely = by_chance < SIGNIFICANCE / len(per_class)
        return RankedClass(one, share, bool(share >= 2 * usual and unlikely))

    return sorted(
        map(ranked, per_class),
        key=lambda one: (-one.share, -one.counts.poisoned, one.counts.label),
    )
