"""Which groups share a trigger, and which are alike by nature."""

from enum import StrEnum

from sanitizer.scan.evidence import Evidence


class Reason(StrEnum):
    """Why a group is held to share a trigger."""

    ABSENT = "images of other classes do not have it"
    FOREIGN = "what they show belongs to other classes"


def accepted(evidence: Evidence) -> Reason | None:
    """Why a group shares a trigger; None where it may be alike by nature."""
    e = evidence
    ratio = e.share_of_rest / e.share if e.share else 1.0
    least = max(15.0, 0.004 * e.images / max(e.share, 1e-9))
    if e.images < least or e.variety < 0.6 or e.least_variety < 0.45 or e.share > 0.8:
        return None
    if e.strength >= 6 and ratio <= 0.03 and e.ways >= 0.85:
        return Reason.ABSENT
    if e.strength >= 3.5 and ratio <= 0.3 and e.ways >= 0.65:
        if e.foreign - 2 * e.foreign_error >= 0.45:
            return Reason.FOREIGN
    return None
