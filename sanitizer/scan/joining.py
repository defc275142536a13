"""One group seen in all views at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.scan.extremes import ExtremeTable
from sanitizer.scan.matched import matched_filters
from sanitizer.scan.mixture import LEAST_WEIGHT, MAD_OF_NORMAL, Mixture, sigmoid
from sanitizer.scan.moments import Whitening
from sanitizer.scan.pictures import some, ways
from sanitizer.scan.search import LEAST_IMAGES, Subspace, strength
from sanitizer.scan.standard import View

#: Rounds of filtering in each view and joining the scores.
ROUNDS = 4

#: Steps of the mixture in each round.
EM_STEPS = 6

#: What a view says of an image is clipped, softly, this many standard deviations of the class from
#: its median: no single view convicts, or a group would drift to whoever is rare in it.
REACH = 3.5

#: A group of more than this share of the class may be its innocent part, and the others the poison.
MAJORITY = 0.1

#: The others can be the poison where they lie so many standard deviations beyond other classes.
APART = 2.0

#: Poison with false labels shows the content of many classes, in more ways than one class has by
#: this factor.
MORE_WAYS = 1.25

#: Added to the variances of the views' scores, so that one view that sees nothing divides nothing.
RIDGE = 1e-4


@dataclass(frozen=True)
class ClassView:
    """A class in one view, beside images of other classes."""

    whitening: Whitening
    mean: np.ndarray  #: (d,) float32, of the class, whitened
    inside: np.ndarray  #: (n, d) float32, whitened, of mean 0
    rest: np.ndarray  #: (m, d) float32, of other classes, in the same coordinates
    squares: np.ndarray  #: (n,) squared lengths of ``inside``
    subspace: Subspace  #: of ``inside``

    @classmethod
    def of(
        cls, inside: np.ndarray, rest: np.ndarray, whitening: Whitening, rng: np.random.Generator
    ) -> Self:
        """Args: inside: (n, d), standardised; rest: (m, d), whitened already."""
        white = whitening(inside)
        mean = white.mean(0)
        white -= mean
        squares = np.einsum("nd,nd->n", white, white)
        return cls(whitening, mean, white, rest - mean, squares, Subspace.of(white, rng))


@dataclass(frozen=True)
class ClassImages:
    """A class in all views, beside images of other classes."""

    kinds: Sequence[View]
    views: Sequence[ClassView]  #: of each kind
    cells: np.ndarray  #: (n,) of :func:`~sanitizer.scan.extremes.extreme_cells`
    rest_cells: np.ndarray  #: (m,)
    thumbnails: np.ndarray  #: (n, 64) float32, mean grey of 8 x 8 cells

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class Trigger:
    """What a group shares, and how to find it in other images.

    It speaks of vectors in the coordinates of a :class:`ClassView`.
    """

    directions: Sequence[np.ndarray]  #: of the matched filter in each view, (d,) float32
    centres: np.ndarray  #: (v,) medians of the views' scores in the class
    reaches: np.ndarray  #: (v,) at most so far from them a score counts
    weights: np.ndarray  #: (v,) of the views' scores in the joined one, 0 or above
    mixture: Mixture  #: of the joined scores
    table: ExtremeTable


@dataclass(frozen=True)
class Group:
    """Images of a class that may share a trigger, as all views together tell them."""

    trigger: Trigger
    log_odds: np.ndarray  #: (n,) of being in the group, of each image by all others
    rest_log_odds: np.ndarray  #: (m,) of images of other classes, were they of this one
    rest_scores: np.ndarray  #: (m,)
    separations: np.ndarray  #: (v,) of the group from the others in each view, d'

    @property
    def members(self) -> np.ndarray:
        """(n,) bool, more likely in the group than not."""
        return self.log_odds > 0

    @property
    def share(self) -> float:
        """Of the class that is in the group."""
        return float(self.members.mean())

    @property
    def share_of_rest(self) -> float:
        """Of the images of other classes that would be in the group."""
        return float((self.rest_log_odds > 0).mean())

    @property
    def strength(self) -> float:
        """How separate the group is, less where other classes have it too."""
        return strength(self.trigger.mixture.separation, self.share, self.share_of_rest)

    @property
    def is_like_the_rest(self) -> bool:
        """Whether other classes lie nearer to the group than to those outside it."""
        rest, mixture = float(np.median(self.rest_scores)), self.trigger.mixture
        return abs(rest - mixture.few) < abs(rest - mixture.many)

    @property
    def beyond(self) -> float:
        """How far the group lies beyond other classes along what it shares (d')."""
        mixture = self.trigger.mixture
        return _apart(mixture.few, mixture.few_sd, self.rest_scores)

    @property
    def others_beyond(self) -> float:
        """The same of those outside it, on their side."""
        mixture = self.trigger.mixture
        return _apart(-mixture.many, mixture.many_sd, -self.rest_scores)


def _apart(mean: float, sd: float, rest: np.ndarray) -> float:
    centre = np.median(rest)
    rest_sd = MAD_OF_NORMAL * np.median(np.abs(rest - centre))
    return float((mean - centre) / np.sqrt((sd**2 + rest_sd**2) / 2))


def join(images: ClassImages, suspects: np.ndarray) -> Group | None:
    """Look at a group in all views, and at whom else it takes in.

    In every round each view scores all images by the group's matched filter; the scores, clipped,
    are joined by Fisher's discriminant with weights of 0 or above, and a mixture along it, with the
    table of extremes, says anew who is in the group.

    Args:
        suspects: (n,) probabilities of being in the group, to start from.

    Returns:
        None where the group dissolves.
    """
    group = _rounds(images, suspects, ROUNDS)
    if group is not None and group.share > MAJORITY and _is_innocent(group, images):
        group = _rounds(images, sigmoid(-group.log_odds), ROUNDS // 2)
    return group


def _is_innocent(group: Group, images: ClassImages) -> bool:
    """Whether it is rather the others who share a trigger.

    Those do who vary in more ways, as poison from many classes does; where both vary alike, those
    who lie further from other classes.
    """
    if group.others_beyond < APART:
        return False
    content, members = images.views[0].inside, group.members
    count = min(int(members.sum()), int((~members).sum()))
    more = ways(some(content[~members], count)) / ways(some(content[members], count))
    if 1 / MORE_WAYS < more < MORE_WAYS:
        return group.is_like_the_rest
    return more > 1


def _rounds(images: ClassImages, suspects: np.ndarray, rounds: int) -> Group | None:
    group = None
    for _ in range(rounds):
        looked = look(images, suspects[:, None])
        if not looked:
            return None
        (group,) = looked
        suspects = sigmoid(group.log_odds)
    return group


def look(images: ClassImages, suspects: np.ndarray) -> list[Group]:
    """One round of :func:`join` for many groups at once, which costs little more than for one.

    Args:
        suspects: (n, k) probabilities of being in each group.

    Returns:
        The groups that do not dissolve, at most k.
    """
    weights = suspects.sum(0)
    alive = (weights >= LEAST_WEIGHT) & (weights <= len(images) - LEAST_WEIGHT)
    suspects = suspects[:, alive].astype(np.float32)
    filtered = [matched_filters(v.inside, v.squares, suspects, v.subspace) for v in images.views]
    inside = np.stack([one.scores for one in filtered])
    rest = np.stack(
        [v.rest @ one.directions for v, one in zip(images.views, filtered, strict=True)]
    )
    looked = []
    for k in range(suspects.shape[1]):
        directions = [one.directions[:, k] for one in filtered]
        group = _joined(images, suspects[:, k], directions, inside[..., k].T, rest[..., k].T)
        if group is not None and LEAST_IMAGES <= group.members.sum() <= len(images) - LEAST_IMAGES:
            looked.append(group)
    return looked


def _joined(
    images: ClassImages,
    suspects: np.ndarray,
    directions: Sequence[np.ndarray],
    inside: np.ndarray,
    rest: np.ndarray,
) -> Group | None:
    """A group by the scores of all views, (n, v) of the class and (m, v) of other classes."""
    centres, rest_centres = np.median(inside, 0), np.median(rest, 0)
    reaches = REACH * MAD_OF_NORMAL * np.median(np.abs(inside - centres), 0)
    inside = clipped(inside - centres, reaches)
    rest = clipped(rest - rest_centres, reaches) + (rest_centres - centres)
    weight = suspects.sum()
    few, many = suspects @ inside / weight, (1 - suspects) @ inside / (len(inside) - weight)
    centred = inside - np.outer(suspects, few) - np.outer(1 - suspects, many)
    noise = (centred.T @ centred / len(inside) + np.cov(rest.T)) / 2
    noise[np.diag_indices_from(noise)] += RIDGE
    weights = np.maximum(np.linalg.solve(noise, np.maximum(few - many, 0)), 0)
    if not weights.any():
        return None
    weights /= np.sqrt(weights @ noise @ weights)
    scores = inside @ weights
    mixture = Mixture.fit(scores, suspects, EM_STEPS)
    if mixture is None:
        return None
    table = ExtremeTable.of(images.cells, images.rest_cells, suspects)
    rest_scores = rest @ weights
    aligned = _aligned(rest_scores, mixture)
    return Group(
        trigger=Trigger(directions, centres, reaches, weights, mixture, table),
        log_odds=mixture.log_odds(scores) + table.within(images.cells, suspects),
        rest_log_odds=mixture.log_odds(aligned) + table.outside(images.rest_cells),
        rest_scores=rest_scores,
        separations=(few - many) / np.sqrt(np.diag(noise)),
    )


def clipped(scores: np.ndarray, reaches: np.ndarray) -> np.ndarray:
    """(n, v) scores of views about 0, none further than its reach."""
    return reaches * np.tanh(scores / reaches)


def _aligned(rest: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Scores of other classes, moved so that most of them lie where this class's many do.

    What is asked is whether other classes have a tail like the group, not whether their content
    is another.
    """
    centre = np.median(rest)
    spread = MAD_OF_NORMAL * np.median(np.abs(rest - centre))
    return (rest - centre) * min(1.0, mixture.many_sd / spread) + mixture.many
