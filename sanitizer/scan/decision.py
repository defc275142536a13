"""Whether a group of images shares a trigger: by what natural groups are not.

A class has groups of its own: portraits, night scenes, pictures of one photographer or with one
history of encoding. They share their content, overlap with other images, or are found in other
classes too. A group that does none of that carries a mark that somebody put on.
"""

from enum import StrEnum

from sanitizer.scan.evidence import Evidence

#: A group has at least so many images, and such a share of its class: below, a few pictures that
#: are alike by chance look like a group.
LEAST_IMAGES, LEAST_SHARE = 15, 0.004

#: Above this share of a class there are too few others to tell the group from.
MOST_SHARE = 0.8

#: The pictures of a group vary at least so much, against those of its class, in the median and in
#: the lower quartile of the cells of their thumbnails; below, they are the same picture.
LEAST_VARIETY, LEAST_QUARTILE = 0.6, 0.45

#: A group by itself is convicted from this strength on, where other classes have next to none of
#: it, and its content varies in as many ways as that of the class.
STRENGTH_ABSENT, RATIO_ABSENT, WAYS_ABSENT = 6.0, 0.03, 0.85

#: Less will do where the content of the group is that of other classes: it lies nearer to them
#: than to its own class by more than two standard errors.
STRENGTH_FOREIGN, RATIO_FOREIGN, WAYS_FOREIGN, LEAST_FOREIGN = 3.5, 0.3, 0.65, 0.45

#: Standard errors that are given to the group.
DOUBT = 2.0


class Reason(StrEnum):
    """What speaks for a trigger."""

    ABSENT = "what it shares is nearly absent from other classes"
    FOREIGN = "what it shows is the content of other classes"


def accepted(evidence: Evidence) -> Reason | None:
    """Why a group shares a trigger; None where it may be natural."""
    if not _can_be_told(evidence):
        return None
    ratio = evidence.share_of_rest / evidence.share
    if (
        evidence.strength >= STRENGTH_ABSENT
        and ratio <= RATIO_ABSENT
        and evidence.ways >= WAYS_ABSENT
    ):
        return Reason.ABSENT
    if (
        evidence.strength >= STRENGTH_FOREIGN
        and ratio <= RATIO_FOREIGN
        and evidence.ways >= WAYS_FOREIGN
        and evidence.foreign - DOUBT * evidence.foreign_error >= LEAST_FOREIGN
    ):
        return Reason.FOREIGN
    return None


def _can_be_told(evidence: Evidence) -> bool:
    """Whether a group is large enough, not nearly all of its class, and not one picture."""
    of_class = evidence.images / evidence.share
    return (
        evidence.images >= max(LEAST_IMAGES, LEAST_SHARE * of_class)
        and evidence.share <= MOST_SHARE
        and evidence.variety >= LEAST_VARIETY
        and evidence.least_variety >= LEAST_QUARTILE
    )
