"""Which classes an attack may have aimed at: it often writes one label on all it poisons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sanitizer.fit import standing_out
from sanitizer.scan.finding import Finding
from sanitizer.summary import ClassCounts


@dataclass(frozen=True)
class RankedClass:
    """A class and what share of its images was removed."""

    counts: ClassCounts
    share: float  #: removed images among its judged ones, 0 to 1
    stands_out: bool  #: by what scores removed, far above the rest and what chance explains
    findings: tuple[str, ...]  #: names of the triggers that its images share


def rank_classes(
    per_class: Sequence[ClassCounts],
    limit: float,
    findings: Sequence[Finding] = (),
    *,
    accuse: bool = True,
) -> list[RankedClass]:
    """Classes by the share of their judged images that was removed, the largest first.

    Args:
        per_class: all classes.
        limit: the largest p-value that is called poisoned, and so the share of clean images
            that is removed at most; 0 where nothing is called poisoned.
        findings: what the scan found; what they account for is no sign of anything else.
        accuse: False where the set as a whole is suspicious: then no class stands out.
    """
    removed = np.array([one.poisoned for one in per_class], np.int64)
    judged = removed + np.array([one.clean for one in per_class], np.int64)
    found = np.array([_carriers(findings, one) for one in per_class], np.int64)
    out = standing_out(removed - found, judged - found, limit) & accuse
    shares = removed / np.maximum(judged, 1)
    names = [tuple(f.name for f in findings if f.label == one.label) for one in per_class]
    ranked = map(RankedClass, per_class, shares.tolist(), out.tolist(), names)
    return sorted(ranked, key=lambda one: (-one.share, -one.counts.poisoned, one.counts.label))


def _carriers(findings: Sequence[Finding], counts: ClassCounts) -> int:
    """Removed images of a class that its findings account for."""
    carriers = sum(finding.images.count for finding in findings if finding.label == counts.label)
    return min(carriers, counts.poisoned)
