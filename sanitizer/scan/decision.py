"""Whether a group of images shares a trigger: by what natural groups are not.

A class has groups of its own: portraits, night scenes, pictures of one photographer or with one
history of encoding. They share their content, overlap with other images, or are found in other
classes too. A group that does none of that carries a mark that somebody put on.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sanitizer.scan.evidence import Evidence
from sanitizer.scan.joining import ClassImages
from sanitizer.scan.pictures import ALL_WAYS, ways_against

#: A group and the others of its class have at least so many different pictures, as fewer may be
#: alike by chance or be one track of a video; and the group has such a share of the class.
LEAST_PICTURES, LEAST_OTHERS, LEAST_SHARE = 15, 10, 0.004

#: Above this share of a class there are too few others to tell the group from.
MOST_SHARE = 0.97

#: The pictures of a group vary at least so much, against those of its class, in the median and in
#: the lower quartile of the cells of their thumbnails; below, they are the same picture. A trigger
#: may cover a good part of the image: those of GAN-TRI leave 0.41 to 0.81 in the lower quartile, a
#: frame 0.07, so where content lies among other classes no quartile is asked for.
LEAST_VARIETY, LEAST_QUARTILE = 0.6, 0.25

#: A trigger lies at least so far beyond other classes: images that only carry a wrong label lie
#: among them.
LEAST_BEYOND = 2.0


@dataclass(frozen=True)
class Bar:
    """How strong a group has to be, and how rare elsewhere.

    In hundreds of dimensions the best of all groups of a few pictures stands apart by chance: the
    squared strength of the strongest groups of clean classes of 60 to 400 photographs follows
    8 + 550 / pictures. More is asked for a picture, as frames of one track count as fewer pictures
    than they are, not as one.
    """

    natural: float  #: squared strength, however many pictures there are
    by_chance: float  #: squared strength on top, times the number of pictures
    most_elsewhere: float  #: share of other classes that would be in the group, against its own

    def height(self, evidence: Evidence) -> float:
        """The strength that is asked of a group."""
        pictures = evidence.pictures * (1 - evidence.share)  # both sides have a mean to be wrong
        return math.sqrt(self.natural + self.by_chance / pictures)

    def is_passed_by(self, evidence: Evidence, share: float) -> bool:
        """Whether a group, of that share of its class, is strong and not found elsewhere."""
        elsewhere = evidence.share_of_rest / share
        return evidence.strength >= self.height(evidence) and elsewhere <= self.most_elsewhere


#: For a group with nothing else against it, and for one that shows what other classes show. Natural
#: groups of hundreds of pictures have a squared strength of at most 17, most of them below 9;
#: tracks of traffic signs, 45 pictures of 8 tracks, of 80.
BY_ITSELF = Bar(natural=20, by_chance=1500, most_elsewhere=0.05)
WITH_FOREIGN_CONTENT = Bar(natural=9, by_chance=1100, most_elsewhere=0.3)

#: For one that shows few kinds of things, in less than this share of the ways of all classes:
#: sandals with heels, twos without a loop, one of twelve categories under one label. The squared
#: strength of such natural groups is at most 89, of 33 to 88 pictures. Of 33 groups that carry
#: triggers which hide much of an image 30 pass; the other 3 are what a round had left of a larger
#: one.
OF_FEW_KINDS = Bar(natural=60, by_chance=1500, most_elsewhere=0.05)
FEW_WAYS = 0.65

#: For one that shows what other classes show, told from these: clean classes have a squared
#: strength of at most 9 there.
AMONG_OTHERS = Bar(natural=12, by_chance=1100, most_elsewhere=0.1)

#: One trigger may be in two classes. What all other classes have of it, against its own, is at most
#: this; natural groups as strong as a trigger have a third of it there.
MOST_BUT_ONE = 0.02

#: No group that is weaker than this passes a bar, told from its class and from other classes.
LEAST_STRENGTH = math.sqrt(WITH_FOREIGN_CONTENT.natural)
LEAST_AMONG_OTHERS = math.sqrt(AMONG_OTHERS.natural)

#: Content is foreign where it lies this near to other classes, at 0 as the class's own and at 1 as
#: theirs, less two standard errors; less one of a group that is strong by itself.
LEAST_FOREIGN, DOUBT, LESS_DOUBT = 0.45, 2.0, 1.0

#: And where it varies little more than that of the class, or of other classes: a natural group that
#: lies far out, such as one of its parts or what is brightest in it, varies more.
MOST_SPREAD = 1.2

#: And where light and dark vary little more than in other classes, but for the chance of so many
#: pictures: images taken from these vary as they do, products on white ground 1.6 times as much.
MOST_SHADES = 1.3

#: And where it varies in nearly as many ways as that of the class: so do pictures of many kinds,
#: but not what is left of a class, which lies as far from the poison that was taken out of it.
LEAST_WAYS = 0.85

#: A group that is only told by what it shares varies in at least this share of the ways of its
#: class, unless it lies far beyond other classes or its content where theirs does. Natural ones
#: that pass all else vary in 0.63 and 0.65, such as twos without a loop, and their content lies at
#: -0.21 to -0.04; those that carry a trigger which covers much of an image vary in 0.67 and more,
#: and it lies at 0.77 to 1.09.
LEAST_WAYS_ALONE = 0.7

#: Where the others of a class vary in all ways, they are poison, and a group that varies in less
#: than this share of their ways is what the class shows by nature.
LEAST_OF_OTHERS = 0.8

#: Or where the others lie nearer to other classes than a usual class does, and this much nearer
#: than the group: beside the poison of reflections, which is of so few pictures that it varies in
#: few ways, too. It lies at 0.33 to 0.66 of a usual class's squared distance, the innocent 4 to 24
#: times as far. A trigger that covers much of its images lies as far from the rest of its class,
#: which then is a usual class.
LEAST_FARTHER, NEARER_THAN_USUAL = 4.0, 0.75

#: Others lie among other classes where they are so near to these, against a usual class of the
#: set; the nearest classes of CIFAR-10, Imagenette and GTSRB are at 0.5, 0.27 and 0.16.
AMONG_ALL = 0.2

#: Beside others that lie there and vary in all ways even a few pictures, which lie farther away and
#: vary in no more ways than they, are the innocent part: they vary in 0.86 to 1.01 of those of the
#: class, and few pictures that carry a trigger mostly in more.
MOST_OF_FEW = 1.05

#: What lies so far beyond other classes is no innocent part: natural classes lie at most 10.7
#: deviations beyond others, told from images with wrong labels 17, and triggers that cover their
#: images and leave them few ways to vary 31 to 35.
FAR_BEYOND = 25.0

#: Nor is what has content so far from other classes, in squared distances of a usual class: groups
#: of 15 natural pictures lie at 62 at most, images with a frame drawn around them at 117 to 152.
FAR_APART = 100.0

#: A class that was put together of several kinds, such as traffic signs by their shape, has groups
#: by nature: where both a group and the others lie so far from other classes, against a usual
#: class, unless the group lies beyond nature, or is as strong as is asked of few kinds and varies
#: more than one kind does. Such groups lie at 12 to 367 beside others at 5.4 to 49, and mostly less
#: than 10.7 deviations beyond other classes. Beside triggers the others lie at most at 4.3, but for
#: sets of a few hundred images of few classes.
OF_ITS_OWN = 5.0

#: Of fewer pictures it cannot be told well in how many ways they vary: there are no more than
#: pictures, and content has 192 dimensions: these may vary in all ways by chance.
TELLING = 200

#: Images that are more than this share of their class are poison only if they vary in all ways;
#: where there are pictures enough to tell, in nearly all: a watermark takes a little of them,
#: and natural groups of so many pictures have 0.76 of GTSRB's, and none in classes of CIFAR-10 is
#: as large and strong.
HALF, NEARLY_ALL_WAYS = 0.5, 0.88

#: Or lie so far beyond other classes: a class of which a few pictures are odd has the others as a
#: group, which other classes have not, and which lies at most 10.7 deviations beyond them.
BEYOND_NATURE = 12.0

#: Or lie so near to other classes, less two standard errors, and vary in more ways than the others:
#: those that carry a trigger lie at 0.76 to 0.89 there, the usual stop signs of GTSRB at 0.45.
FOREIGN_OF_MOST = 0.7

#: Parts of a class may vary in as many ways, but are 2.9 deviations from others in what they show.
MOST_APART_IN_CONTENT = 2.0


#: Content that lies this far on the way from its class to others is rather of these.
HALF_WAY = 0.5

#: Content that lies this far from other classes, against a usual class, was moved by the trigger:
#: that it lies where its own class does says nothing then.
MOVED = 10.0


class Reason(StrEnum):
    """What speaks for a trigger."""

    ABSENT = "what it shares is nearly absent from other classes"
    FOREIGN = "it stands apart in its class, and shows what other classes show"
    STRANGE = "it shows what other classes show, and shares what those have not"
    ONE_WAY_ROUND = "what it shares is nearly absent from mirror images of the set"


def accepted(evidence: Evidence) -> Reason | None:
    """Why a group shares a trigger; None where it may be natural."""
    if not _can_be_told(evidence):
        return None
    bar = bar_of(Reason.ABSENT, evidence)
    absent = bar.is_passed_by(evidence, evidence.share) or _is_in_two_classes(evidence)
    varied = (
        evidence.ways >= LEAST_WAYS_ALONE
        or evidence.beyond >= FAR_BEYOND
        or _is_surely_foreign(evidence)
    )
    if absent and varied and not _is_most_by_nature(evidence):
        return Reason.ABSENT
    if WITH_FOREIGN_CONTENT.is_passed_by(evidence, evidence.share) and shows_other_classes(
        evidence
    ):
        return Reason.FOREIGN
    return None


def bar_of(reason: Reason, evidence: Evidence) -> Bar:
    """What a group has to pass for a reason."""
    if reason is Reason.FOREIGN:
        return WITH_FOREIGN_CONTENT
    if reason is Reason.STRANGE:
        return AMONG_OTHERS
    return OF_FEW_KINDS if evidence.all_ways < FEW_WAYS else BY_ITSELF


def accepted_among_others(
    evidence: Evidence, share: float, of_all: bool, apart_in_content: float
) -> bool:
    """Whether a group that looks like other classes shares a trigger, told from these.

    Args:
        evidence: of the group, seen among images of other classes.
        share: of the images of its class there that are in the group.
        of_all: whether it was sought in all of its class, or in a part chosen for being apart.
        apart_in_content: its separation in low frequencies, d'.
    """
    return (
        _can_be_told(evidence)
        and AMONG_OTHERS.is_passed_by(evidence, share)
        and _varies_as_all(evidence)
        and (of_all or apart_in_content <= MOST_APART_IN_CONTENT)
    )


def _is_most_by_nature(evidence: Evidence) -> bool:
    """Whether a group is the usual part of a class, told from a few odd pictures.

    It varies in no more ways than the odd pictures, and does not lie among other classes.
    """
    is_the_odd_part = (
        _lies_among_others(evidence)
        and evidence.foreign - DOUBT * evidence.foreign_error >= FOREIGN_OF_MOST
        and evidence.all_ways > evidence.others_all_ways
    )
    return (
        evidence.share > HALF
        and evidence.all_ways < NEARLY_ALL_WAYS
        and evidence.beyond < BEYOND_NATURE
        and not is_the_odd_part
    )


def _is_in_two_classes(evidence: Evidence) -> bool:
    """Whether what a group shares is as good as absent from other classes, but for one."""
    return (
        evidence.strength >= bar_of(Reason.ABSENT, evidence).height(evidence)
        and evidence.share_of_all_but_one <= MOST_BUT_ONE * evidence.share
    )


def shows_all_classes(images: ClassImages, chosen: np.ndarray | None = None) -> bool:
    """Whether the content of a class varies in as many ways as that of all: most of it is poison.

    Its few innocent images are told from the poison by what they show, and the poison falls into
    parts that differ in how they carry the trigger.

    Args:
        images: of the class.
        chosen: (n,) bool, those of them that count; None: all.
    """
    content = images.content if chosen is None else images.content[chosen]
    return len(content) >= TELLING and ways_against(content, images.rest_content) >= ALL_WAYS


def _can_be_told(evidence: Evidence) -> bool:
    """Whether a group is large enough, not all of its class, not one picture, and apart."""
    of_class = evidence.images / evidence.share
    of_others = evidence.pictures * (1 / evidence.share - 1)
    return (
        evidence.pictures >= LEAST_PICTURES
        and of_others >= LEAST_OTHERS
        and evidence.images >= LEAST_SHARE * of_class
        and evidence.share <= MOST_SHARE
        and evidence.variety >= LEAST_VARIETY
        and (evidence.least_variety >= LEAST_QUARTILE or _is_surely_foreign(evidence))
        and evidence.beyond >= LEAST_BEYOND
        and not is_the_innocent_part(evidence)
        and not _is_one_of_several_kinds(evidence)
    )


def _is_one_of_several_kinds(evidence: Evidence) -> bool:
    """Whether a group is one of the kinds that a class was put together of."""
    is_like_a_kind = evidence.spread <= MOST_SPREAD or evidence.strength < OF_FEW_KINDS.height(
        evidence
    )
    return (
        min(evidence.apart, evidence.others_apart) >= OF_ITS_OWN
        and evidence.beyond < BEYOND_NATURE
        and is_like_a_kind
    )


def is_the_innocent_part(evidence: Evidence) -> bool:
    """Whether a group is the innocent part of a class that is mostly poison."""
    if evidence.beyond >= FAR_BEYOND or evidence.apart >= FAR_APART:
        return False
    farther = (
        evidence.others_apart < NEARER_THAN_USUAL
        and evidence.apart >= LEAST_FARTHER * evidence.others_apart
    )
    if evidence.others_all_ways < ALL_WAYS:
        return farther and evidence.ways < LEAST_OF_OTHERS
    if evidence.pictures < TELLING and evidence.others_apart < AMONG_ALL:
        return farther and evidence.ways < MOST_OF_FEW
    fewer = min(evidence.ways, evidence.all_ways / evidence.others_all_ways)
    return fewer < LEAST_OF_OTHERS


def is_of_others(evidence: Evidence) -> bool:
    """Whether what a group shows is rather that of other classes than of its own."""
    return _varies_as_all(evidence) or evidence.foreign > HALF_WAY


def is_told(evidence: Evidence, reason: Reason) -> bool:
    """Whether the answer of :func:`is_of_others` is sure.

    Args:
        evidence: of a group.
        reason: why it was believed.
    """
    if _varies_as_all(evidence):
        return True
    if evidence.foreign > HALF_WAY and reason is Reason.FOREIGN:
        return True
    if evidence.foreign < HALF_WAY and evidence.apart >= MOVED:
        return False
    return abs(evidence.foreign - HALF_WAY) >= DOUBT * evidence.foreign_error


def _varies_as_all(evidence: Evidence) -> bool:
    """Whether a group shows as many kinds of things as all classes do; one class does not."""
    return evidence.pictures >= TELLING and evidence.all_ways >= ALL_WAYS


def _is_surely_foreign(evidence: Evidence) -> bool:
    """Whether the content of a group lies where that of other classes does, beyond doubt."""
    return evidence.foreign - DOUBT * evidence.foreign_error >= LEAST_FOREIGN


def shows_other_classes(evidence: Evidence) -> bool:
    """Whether the content of a group is that of other classes, rather than a part of its own."""
    of_most = NEARLY_ALL_WAYS if evidence.pictures >= TELLING else ALL_WAYS
    return (
        _lies_among_others(evidence)
        and evidence.all_ways >= FEW_WAYS
        and (evidence.share <= HALF or evidence.all_ways >= of_most)
    )


def _lies_among_others(evidence: Evidence) -> bool:
    """Whether the content of a group lies where that of other classes does, and varies as much."""
    strong = evidence.strength >= BY_ITSELF.height(evidence)
    doubt = (LESS_DOUBT if strong else DOUBT) * evidence.foreign_error
    # A trigger that changes broad shapes moves where content lies, not in how many ways it varies.
    varies_unlike_class = (
        evidence.apart >= MOVED and _varies_as_all(evidence) and evidence.others_all_ways < ALL_WAYS
    )
    return (
        (evidence.foreign - doubt >= LEAST_FOREIGN or varies_unlike_class)
        and evidence.spread <= MOST_SPREAD
        and evidence.shades <= MOST_SHADES * (1 + math.sqrt(2 / evidence.pictures))
        and evidence.ways >= LEAST_WAYS
    )
