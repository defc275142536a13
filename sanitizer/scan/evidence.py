"""What speaks for a trigger in a group of images, and what for a natural likeness."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.scan.joining import ClassImages, Group

#: Pictures are one and the same where their thumbnails correlate by more than this.
SAME_PICTURE = 0.9

#: Images among which distinct pictures are counted, at most.
COMPARED = 600


@dataclass(frozen=True)
class Evidence:
    """Figures of a group, by which it is decided whether it shares a trigger."""

    images: int  #: in the group
    share: float  #: of the class
    strength: float  #: how separate it is, less where other classes have it too
    share_of_rest: float  #: of other classes' images that would be in it
    #: Where the group's content lies, by view: 0 as the class's, 1 as that of other classes.
    foreign: np.ndarray
    #: Standard error of ``foreign``, by view.
    foreign_error: np.ndarray
    distinct: int  #: different pictures in the group, of at most COMPARED
    variety: float  #: variance of its thumbnails against those of the class, median of cells
    least_variety: float  #: the same, lower quartile

    @classmethod
    def of(cls, group: Group, images: ClassImages) -> Self:
        members = group.members
        own, whole = images.thumbnails[members], images.thumbnails
        variety = own.var(0) / np.maximum(whole.var(0), 1e-6)
        foreign = np.array([_foreign(v.inside, v.rest.mean(0), members) for v in images.views])
        return cls(
            images=int(members.sum()),
            share=group.share,
            strength=group.strength,
            share_of_rest=group.share_of_rest,
            foreign=foreign[:, 0],
            foreign_error=foreign[:, 1],
            distinct=distinct_pictures(own),
            variety=float(np.median(variety)),
            least_variety=float(np.quantile(variety, 0.25)),
        )


def _foreign(inside: np.ndarray, rest: np.ndarray, members: np.ndarray) -> tuple[float, float]:
    """How far the group lies on the way from its class to other classes, and its standard error.

    A natural group lies anywhere, most often across that way; images that were given their label
    by an attacker have the content of other classes, and lie at its end. The means of two halves
    of the class, one for the start of each vector, keep their noise out of the product.
    """
    others = inside[~members]
    if len(others) < 2:
        return 0.0, np.inf
    halves = others[::2].mean(0), others[1::2].mean(0)
    group = inside[members].mean(0)
    ways = [rest - half for half in halves]
    length = max(float(ways[0] @ ways[1]), 1e-3)
    at = ((group - halves[0]) @ ways[1] + (group - halves[1]) @ ways[0]) / 2
    spread = (inside[members] @ (ways[0] + ways[1]) / 2).std()
    return float(at) / length, float(spread) / length / np.sqrt(members.sum())


def distinct_pictures(thumbnails: np.ndarray) -> int:
    """How many different pictures there are, of at most COMPARED, greedily.

    Args:
        thumbnails: (n, 64) float32.
    """
    order = np.random.default_rng(0).permutation(len(thumbnails))[:COMPARED]
    centred = thumbnails[order] - thumbnails[order].mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6
    alike = centred @ centred.T > SAME_PICTURE
    left = np.ones(len(order), bool)
    count = 0
    for i in range(len(order)):
        if left[i]:
            count += 1
            left &= ~alike[i]
    return count
