"""What speaks for a trigger in a group of images, and what for a natural likeness."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from sanitizer.record import Record
from sanitizer.scan.contents import LEAST_DISTANCE, squared_distance
from sanitizer.scan.joining import ClassImages, Group
from sanitizer.scan.pictures import (
    LEAST_VARIANCE,
    effective_count,
    variety,
    ways,
    ways_against,
)
from sanitizer.scan.stacked import Stacked

#: Added to standard errors before views are weighted by them: other errors than chance.
LEAST_ERROR = 0.05


@dataclass(frozen=True)
class Evidence(Record):
    """Figures of a group, by which it is decided whether it shares a trigger."""

    images: int  #: in the group
    pictures: float  #: how many different ones they are
    share: float  #: of the class; with the others beside it, where it is told from these
    strength: float  #: how separate it is, less where other classes have it too
    share_of_rest: float  #: of other classes' images that would be in it
    share_of_all_but_one: float  #: the same, less the class that has most of them
    beyond: float  #: how far it lies from other classes along what it shares, in deviations
    #: How much its content varies against that of the others of the class or of other classes,
    #: whichever varies more: mean squared distance to the mean.
    spread: float
    #: In how many ways its content varies against as many random images of the class.
    ways: float
    all_ways: float  #: the same against images of other classes, which vary in more
    others_all_ways: float  #: the same of the others of the class
    #: How far its content lies from that of other classes, against a usual class of the set:
    #: squared distances of means.
    apart: float
    others_apart: float  #: the same of the others of the class
    #: Where its content lies: at 0 as the class's, at 1 as that of other classes; 1 without error
    #: of what is told from other classes, since it was looked for among what is like them.
    foreign: float
    foreign_error: float  #: standard error of that
    variety: float  #: variance of its thumbnails against those of the class, median of cells
    least_variety: float  #: the same, lower quartile
    shades: float  #: variance of its thumbnails against those of other classes, median of cells

    @classmethod
    def among_others(cls, group: Group, images: ClassImages, of_class: np.ndarray) -> Self:
        """That of a group told from other classes, some of whose images it may have taken in.

        Only its own are counted, and its content is foreign, as what it is told from.

        Args:
            group: among these images.
            images: of the class and, behind them, of others.
            of_class: (k,) bool, which of those of the class are in the group.
        """
        own = images.content[: len(of_class)][of_class]
        return replace(
            cls.of(group, images),
            images=int(of_class.sum()),
            pictures=effective_count(own, ways(images.rest_content)),
            foreign=1.0,
            foreign_error=0.0,
        )

    @classmethod
    def of(cls, group: Group, images: ClassImages) -> Self:
        members = group.members
        content = images.content
        varied = variety(images.shapes, members[:, None])
        pictures = effective_count(content[members], ways(images.rest_content))
        foreign, foreign_error = _foreign(group, images, pictures)
        return cls(
            images=int(members.sum()),
            pictures=pictures,
            share=group.share,
            strength=group.strength,
            share_of_rest=max(group.share_of_rest, group.twin.share),
            share_of_all_but_one=group.share_of_all_but_one(images.rest_labels),
            beyond=group.beyond,
            spread=_spread(content[members])
            / max(_spread(content[~members]), _spread(images.rest_content)),
            ways=ways_against(content[members], content),
            all_ways=ways_against(content[members], images.rest_content),
            others_all_ways=ways_against(content[~members], images.rest_content),
            apart=_apart(content[members], images),
            others_apart=_apart(content[~members], images),
            foreign=foreign,
            foreign_error=foreign_error,
            variety=float(np.median(varied)),
            least_variety=float(np.quantile(varied, 0.25)),
            shades=_shades(images.shapes[members], images.rest_shapes),
        )


def _spread(vectors: np.ndarray) -> float:
    """Mean squared distance of (n, d) vectors to their mean, without bias."""
    return float(vectors.var(0, ddof=1).sum())


def _shades(shapes: np.ndarray, others: np.ndarray) -> float:
    """Median ratio of variances of (n, c) cells of thumbnails to those of (m, c) others."""
    ratios = shapes.var(0) / np.maximum(others.var(0), LEAST_VARIANCE)
    return float(np.median(ratios))


def _apart(content: np.ndarray, images: ClassImages) -> float:
    distance = squared_distance(content, images.rest_content)
    return distance / images.contents.usual_distance


def _foreign(group: Group, images: ClassImages, pictures: float) -> tuple[float, float]:
    """Where the content of the group lies, and the standard error of that.

    A natural group lies anywhere, most often across the way from its class to others; images that
    were given their label by an attacker have the content of other classes, and lie at its end.
    The trigger moves them too, so views count the less the more they see of it.
    """
    seen = [
        (_way_along(view.vectors, view.rest_mean, group.members, pictures), separation)
        for view, separation, kind in zip(
            images.views, group.separations, images.kinds, strict=True
        )
        if kind.shows_content
    ]
    places = np.array([place for place, _ in seen])
    separations = np.array([separation for _, separation in seen])
    weights = 1 / (1 + separations**2) / (LEAST_ERROR + places[:, 1]) ** 2
    place, error = weights @ places / weights.sum()
    return float(place), float(error)


def _way_along(
    inside: Stacked, rest: np.ndarray, members: np.ndarray, pictures: float
) -> tuple[float, float]:
    """How far a group lies on the way from its class to other classes, and the standard error.

    The error is that of so many pictures: frames of one track say the same again.

    The means of two halves of the class, one for the start of each vector, keep their noise out of
    the product.
    """
    others = np.flatnonzero(~members)
    parts = np.zeros((3, len(inside)), np.float32)
    for part, chosen in zip(parts, (others[::2], others[1::2], members), strict=True):
        part[chosen] = 1
    # All means at once, without copies of nearly all vectors.
    *halves, group = inside.weighted(parts) / parts.sum(1, keepdims=True)
    ways = [rest - half for half in halves]
    length = max(float(ways[0] @ ways[1]), LEAST_DISTANCE)
    at = ((group - halves[0]) @ ways[1] + (group - halves[1]) @ ways[0]) / 2
    spread = (inside[members] @ (ways[0] + ways[1]) / 2).std()
    return float(at) / length, float(spread) / length / float(np.sqrt(pictures))
