"""One group seen in all views at once."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from sanitizer.scan.contents import Contents
from sanitizer.scan.extremes import ExtremeTable
from sanitizer.scan.matched import Suspects, matched_filters, precise_squares
from sanitizer.scan.mixture import LEAST_WEIGHT, Mixture, sigmoid
from sanitizer.scan.moments import Whitening
from sanitizer.scan.pictures import ALL_WAYS, varying, ways_against
from sanitizer.scan.robust import deviation, middle
from sanitizer.scan.search import LEAST_IMAGES, Subspace, strength
from sanitizer.scan.stacked import Stacked
from sanitizer.scan.standard import View

#: Rounds of filtering in each view and joining the scores.
ROUNDS = 4

#: Groups that are looked at together: more would only take more memory.
GROUPS = 64

#: Steps of the mixture in each round.
EM_STEPS = 6

#: What a view says of an image is clipped, softly, this many standard deviations of the class from
#: its median: no single view convicts, or a group would drift to whoever is rare in it.
REACH = 3.5

#: A group of more than this share of the class may be its innocent part, and the others the poison.
LEAST_INNOCENT = 0.02

#: A group of less than this share is so only where the others vary in nearly as many ways as images
#: of all classes do.
MINORITY = 0.1

#: The others can be the poison where they lie so many standard deviations beyond other classes.
APART = 2.0

#: Poison with false labels shows the content of many classes, in more ways than one class has by
#: this factor.
MORE_WAYS = 1.25

#: So many other classes are several, of which one may carry the same trigger.
SEVERAL = 4

#: A group of other classes is a twin where it is this much as separate.
AS_SEPARATE = 0.6

#: Added to the variances of the views' scores, so that one view that sees nothing divides nothing.
RIDGE = 1e-4


@dataclass(frozen=True)
class ClassView:
    """A class in one view, beside images of other classes."""

    whitening: Whitening
    mean: np.ndarray  #: (d,) float32, of the class, whitened
    vectors: Stacked  #: n of the class, whitened, of mean 0
    others: Stacked  #: m of other classes, in the same coordinates
    subspace: Subspace  #: of the class
    projected: np.ndarray  #: (n, s) float32, the class in the subspace
    squares: np.ndarray  #: (n,) of the class, as :func:`~sanitizer.scan.matched.precise_squares`

    @classmethod
    def of(
        cls, inside: np.ndarray, rest: np.ndarray, whitening: Whitening, rng: np.random.Generator
    ) -> Self:
        """Args: inside: (n, d) float32, standardised; rest: (m, d), whitened already.

        Both are written to.
        """
        white, origin = whitening(inside, inside), np.zeros_like(whitening.mean)
        return cls._about_mean(whitening, origin, white, rest, rng)

    def only(self, chosen: np.ndarray, rng: np.random.Generator) -> Self:
        """Some of the class, as by :meth:`of`."""
        inside, rest = self.vectors[chosen], self.others.array()
        return self._about_mean(self.whitening, self.mean, inside, rest, rng)

    def among_rest(self, chosen: np.ndarray) -> Self:
        """Some of the class with every second image of the rest, beside the others of the rest.

        Most of them are white by their making, so no subspace is measured.
        """
        inside = self.inside if chosen.all() else self.inside[chosen]
        both = Stacked.about_mean([inside, self.rest[::2]])
        others, subspace = self.rest[1::2], Subspace.none(len(both.origin))
        return type(self)(
            self.whitening,
            self.mean + both.origin,
            both,
            Stacked([others], both.origin),
            subspace,
            np.empty((len(both), 0), np.float32),
            both.squares(),
        )

    @classmethod
    def _about_mean(
        cls,
        whitening: Whitening,
        origin: np.ndarray,
        inside: np.ndarray,
        rest: np.ndarray,
        rng: np.random.Generator,
    ) -> Self:
        """Move whitened vectors, which are written to, so that the mean of ``inside`` is 0.

        Args:
            whitening: that made them.
            origin: (d,) what has been taken off them since.
            inside: (n, d).
            rest: (m, d).
            rng: for the start of the search for the subspace.
        """
        mean = inside.mean(0)
        inside -= mean
        rest -= mean
        subspace = Subspace.of(inside, rng)
        projected = inside @ subspace.basis
        vectors = Stacked.of(inside)
        squares = precise_squares(vectors.squares(), projected, subspace.variances)
        return cls(
            *(whitening, origin + mean, vectors, Stacked.of(rest)),
            *(subspace, projected, squares),
        )

    @property
    def inside(self) -> np.ndarray:
        """(n, d) float32, the class; not of one :meth:`among_rest`, which has no such array."""
        (inside,) = self.vectors.parts
        return inside

    @property
    def rest(self) -> np.ndarray:
        """(m, d) float32, the others, likewise."""
        (rest,) = self.others.parts
        return rest

    @cached_property
    def rest_mean(self) -> np.ndarray:
        """(d,) float32, of the others."""
        (rest,) = self.others.parts
        mean: np.ndarray = rest.mean(0) - self.others.origin
        return mean

    @cached_property
    def rest_projected(self) -> np.ndarray:
        """(m, s) float32, the others in the subspace."""
        return self.rest @ self.subspace.basis


@dataclass(frozen=True)
class ClassImages:
    """A class in all views, beside images of other classes."""

    kinds: Sequence[View]
    views: Sequence[ClassView]  #: of each kind
    cells: np.ndarray  #: (n,) of :func:`~sanitizer.scan.extremes.extreme_cells`
    rest_cells: np.ndarray  #: (m,)
    thumbnails: np.ndarray  #: (n, 64) float32, mean grey of 8 x 8 cells
    rest_thumbnails: np.ndarray  #: (m, 64)
    rest_labels: np.ndarray  #: (m,) of any dtype
    contents: Contents  #: of both

    def __len__(self) -> int:
        return len(self.cells)

    def only(self, chosen: np.ndarray, rng: np.random.Generator) -> Self:
        """Some of the class, beside the same images of other classes.

        Args:
            chosen: (n,) bool.
            rng: for the start of the search for its subspaces.
        """
        return type(self)(
            self.kinds,
            [view.only(chosen, rng) for view in self.views],
            self.cells[chosen],
            self.rest_cells,
            self.thumbnails[chosen],
            self.rest_thumbnails,
            self.rest_labels,
            self.contents.only(chosen),
        )

    def among_rest(self, chosen: np.ndarray) -> Self:
        """Some of the class with every second image of the rest, beside the others of the rest.

        Args:
            chosen: (n,) bool.
        """
        return type(self)(
            self.kinds,
            [view.among_rest(chosen) for view in self.views],
            np.concatenate([self.cells[chosen], self.rest_cells[::2]]),
            self.rest_cells[1::2],
            np.concatenate([self.thumbnails[chosen], self.rest_thumbnails[::2]]),
            self.rest_thumbnails[1::2],
            self.rest_labels[1::2],
            self.contents.among_others(chosen),
        )

    @property
    def content(self) -> np.ndarray:
        """(n, d) float32, what the images show."""
        return self.contents.own

    @property
    def rest_content(self) -> np.ndarray:
        """(k, d) float32, the same of other classes: images that did not make the coordinates."""
        return self.contents.fresh_others

    @cached_property
    def shapes(self) -> np.ndarray:
        """(n, c) float32, the cells of the thumbnails that vary in other classes."""
        return self.thumbnails[:, self._varying]

    @cached_property
    def rest_shapes(self) -> np.ndarray:
        """(m, c) float32, the same cells of other classes."""
        return self.rest_thumbnails[:, self._varying]

    @cached_property
    def _varying(self) -> np.ndarray:
        return varying(self.rest_thumbnails)


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
class Twin:
    """A group of other classes."""

    share: float  #: of them, by the mixture
    members: np.ndarray  #: (m,) bool


@dataclass(frozen=True)
class Group:
    """Images of a class that may share a trigger, as all views together tell them."""

    trigger: Trigger
    log_odds: np.ndarray  #: (n,) of being in the group, of each image by all others
    by_extremes: np.ndarray  #: (n,) what the table of extremes adds to them
    rest_log_odds: np.ndarray  #: (m,) of images of other classes, were they of this one
    rest_scores: np.ndarray  #: (m,)
    rest_by_extremes: np.ndarray  #: (m,)
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
    def weight(self) -> float:
        """How much of what varies among the images it explains; 0 and more.

        Of a group and a part of it that is as separate, the whole is the weightier.
        """
        return self.strength**2 * self.share * (1 - self.share)

    @cached_property
    def twin(self) -> Twin:
        """A group of other classes that is as separate as this one; empty where there is none.

        Where each image has a feature or not, other classes may spread more widely than this one
        and yet have the same group.
        """
        own = self.trigger.mixture
        moved = self.rest_scores - middle(self.rest_scores) + own.many
        twin = Mixture.fit(moved, sigmoid(own.log_odds(moved)), EM_STEPS)
        if twin is None or twin.separation < AS_SEPARATE * own.separation:
            return Twin(0.0, np.zeros(len(moved), bool))
        return Twin(twin.share, twin.log_odds(moved) > 0)

    def share_of_all_but_one(self, rest_labels: np.ndarray) -> float:
        """Of the images of other classes, but the one that has most of them, that would be in it
        or are in its twin.

        Of fewer than ``SEVERAL`` classes none is left out.

        Args:
            rest_labels: (m,) of these images.
        """
        _, of_class = np.unique(rest_labels, return_inverse=True)
        images = np.bincount(of_class)
        inside = np.bincount(of_class, (self.rest_log_odds > 0) | self.twin.members)
        left = np.ones(len(images), bool)
        if len(images) >= SEVERAL:
            left[inside.argmax()] = False
        return float(inside[left].sum() / images[left].sum())

    @property
    def strength(self) -> float:
        """How separate the group is, less where other classes have it too."""
        distance = math.hypot(self.trigger.mixture.separation, self.separation_by_extremes)
        return strength(distance, self.share, self.share_of_rest)

    @property
    def separation_by_extremes(self) -> float:
        """How separate the group is by the table of extremes (d'), which convicts no more than a
        view does.
        """
        probabilities = sigmoid(self.log_odds)
        few, few_sd = _moments(self.by_extremes, probabilities)
        many, many_sd = _moments(self.by_extremes, 1 - probabilities)
        return _distance(few - many, few_sd, many_sd)

    @property
    def is_like_the_rest(self) -> bool:
        """Whether other classes lie nearer to the group than to those outside it."""
        mixture = self.trigger.mixture
        variance = (mixture.few_sd**2 + mixture.many_sd**2) / 2
        halfway = (mixture.few + mixture.many) / 2
        beyond_it = middle(self.rest_scores).item() - halfway
        by_scores = beyond_it * (mixture.few - mixture.many) / variance
        return by_scores + middle(self.rest_by_extremes).item() > 0

    @property
    def beyond(self) -> float:
        """How far the group lies beyond other classes along what it shares (d')."""
        mixture = self.trigger.mixture
        by_scores = _apart(mixture.few, mixture.few_sd, self.rest_scores)
        few, few_sd = _moments(self.by_extremes, sigmoid(self.log_odds))
        rest = self.rest_by_extremes
        by_extremes = _distance(few - float(rest.mean()), few_sd, float(rest.std()))
        return math.hypot(by_scores, by_extremes) if by_scores > 0 else by_scores

    @property
    def others_beyond(self) -> float:
        """The same of those outside it, on their side."""
        mixture = self.trigger.mixture
        return _apart(-mixture.many, mixture.many_sd, -self.rest_scores)


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of weighted values."""
    mean = float(weights @ values / weights.sum())
    return mean, math.sqrt(float(weights @ (values - mean) ** 2 / weights.sum()))


def _distance(difference: float, sd: float, other_sd: float) -> float:
    """A difference of means by the table of extremes as d', within 0 and the reach of a view."""
    spread = math.sqrt((sd**2 + other_sd**2) / 2 + RIDGE)
    return min(max(difference / spread, 0.0), REACH)


def _apart(mean: float, sd: float, rest: np.ndarray) -> float:
    centre = middle(rest)
    rest_sd = deviation(rest, centre)
    return ((mean - centre) / np.sqrt((sd**2 + rest_sd**2) / 2)).item()


def join(images: ClassImages, suspects: np.ndarray) -> list[Group]:
    """Look at groups in all views, and at whom else each takes in.

    In every round each view scores all images by a group's matched filter; the scores, clipped,
    are joined by Fisher's discriminant with weights of 0 or above, and a mixture along it, with the
    table of extremes, says anew who is in the group. Where that is rather the innocent part of the
    class, the others are the group.

    Args:
        suspects: (n, k) probabilities of being in each group, to start from.

    Returns:
        The groups that do not dissolve, at most k.
    """
    joined = _rounds(images, suspects, ROUNDS)
    innocent = [_is_innocent(group, images) for group in joined]
    groups = [group for group, turned in zip(joined, innocent, strict=True) if not turned]
    others = [-group.log_odds for group, turned in zip(joined, innocent, strict=True) if turned]
    if others:
        groups += _rounds(images, sigmoid(np.stack(others, 1)), ROUNDS // 2)
    return groups


def _is_innocent(group: Group, images: ClassImages) -> bool:
    """Whether it is rather the others who share a trigger.

    Those do who vary in more ways, as poison from many classes does; where both vary alike, those
    who lie further from other classes.
    """
    if group.share < LEAST_INNOCENT or group.others_beyond < APART:
        return False
    content, members = images.content, group.members
    if group.share < MINORITY:
        return ways_against(content[~members], images.rest_content) >= ALL_WAYS
    more = ways_against(content[~members], content[members])
    if 1 / MORE_WAYS < more < MORE_WAYS:
        return group.is_like_the_rest
    return more > 1


def _rounds(images: ClassImages, suspects: np.ndarray, rounds: int) -> list[Group]:
    groups: list[Group] = []
    for _ in range(rounds):
        groups = look(images, suspects)
        if not groups:
            return []
        suspects = sigmoid(np.stack([group.log_odds for group in groups], 1))
    return groups


def look(images: ClassImages, suspects: np.ndarray) -> list[Group]:
    """One round of :func:`join`.

    Args:
        suspects: (n, k) probabilities of being in each group.

    Returns:
        The groups that do not dissolve, at most k.
    """
    weights = suspects.sum(0)
    alive = (weights >= LEAST_WEIGHT) & (weights <= len(images) - LEAST_WEIGHT)
    members = np.ascontiguousarray(suspects[:, alive].T, np.float32)
    looked = (
        group
        for start in range(0, len(members), GROUPS)
        for group in _looked(images, members[start : start + GROUPS])
    )
    least, most = LEAST_IMAGES, len(images) - LEAST_IMAGES
    return [group for group in looked if group and least <= group.members.sum() <= most]


def _looked(images: ClassImages, members: np.ndarray) -> Iterator[Group | None]:
    """Groups by (k, n) float32 probabilities of being in each; None for one that dissolves."""
    known = Suspects.of(members)
    directions, scores = [], _Scores.room_for(len(members), images)
    for number, view in enumerate(images.views):
        filtered = matched_filters(view.vectors, view.projected, view.squares, known, view.subspace)
        directions.append(filtered.directions)
        scores.put(number, filtered.scores, view.others.along(filtered.directions))
    for k in range(len(members)):
        yield _joined(images, members[k], [one[k] for one in directions], scores, k)


@dataclass(frozen=True)
class _Scores:
    """What v views say of the images along k groups, clipped; 0 is the median of the class."""

    inside: np.ndarray  #: (k, v, n) float32, of the class
    rest: np.ndarray  #: (k, v, m) float32, of other classes
    centres: np.ndarray  #: (k, v) medians of the class, before they became 0
    reaches: np.ndarray  #: (k, v), none is further from its median

    @classmethod
    def room_for(cls, groups: int, images: ClassImages) -> Self:
        """Of all views of a class, to be filled by :meth:`put`."""
        views = len(images.views)
        return cls(
            np.empty((groups, views, len(images)), np.float32),
            np.empty((groups, views, len(images.rest_cells)), np.float32),
            *np.empty((2, groups, views), np.float32),
        )

    def put(self, view: int, inside: np.ndarray, rest: np.ndarray) -> None:
        """Args: inside: (k, n) what a view says, not yet clipped; rest: (k, m). Both are written
        to.
        """
        centres, rest_centres = middle(inside), middle(rest)
        inside -= centres
        rest -= rest_centres
        reaches = REACH * deviation(inside)
        for scores in (inside, rest):
            scores /= reaches
            np.tanh(scores, out=scores)
            scores *= reaches
        rest += rest_centres - centres
        self.inside[:, view], self.rest[:, view] = inside, rest
        self.centres[:, view], self.reaches[:, view] = centres[:, 0], reaches[:, 0]


def _joined(
    images: ClassImages,
    suspects: np.ndarray,
    directions: Sequence[np.ndarray],
    scores: _Scores,
    k: int,
) -> Group | None:
    """Group k by the scores of all views."""
    table = ExtremeTable.of(images.cells, images.rest_cells, suspects)
    by_extremes = table.within(images.cells, suspects)
    rest_by_extremes = table.outside(images.rest_cells)
    # What a view sees of the extremes, too, is not counted twice.
    inside = np.concatenate([scores.inside[k], by_extremes[None]])
    rest = np.concatenate([scores.rest[k], rest_by_extremes[None]])
    # As a group and the others: what they are on average is no noise.
    parts = np.stack([suspects, 1 - suspects]).astype(np.float64)
    sums, products = inside @ parts.T, parts @ parts.T
    means = sums / parts.sum(1)
    few, many = means.T
    shared = means @ sums.T
    within = inside @ inside.T - shared - shared.T + means @ products @ means.T
    noise = (within / len(images) + _covariance(rest)) / 2
    noise[np.diag_indices_from(noise)] += RIDGE
    weights = np.maximum(np.linalg.solve(noise, np.maximum(few - many, 0)), 0)[:-1]
    if not weights.any():
        return None
    inside, rest, noise = inside[:-1], rest[:-1], noise[:-1, :-1]
    weights /= np.sqrt(weights @ noise @ weights)
    joined, rest_joined = weights @ inside, weights @ rest
    mixture = Mixture.fit(joined, suspects, EM_STEPS, by_extremes)
    if mixture is None:
        return None
    aligned = _aligned(rest_joined, mixture)
    return Group(
        trigger=Trigger(directions, scores.centres[k], scores.reaches[k], weights, mixture, table),
        log_odds=mixture.log_odds(joined) + by_extremes,
        by_extremes=by_extremes,
        rest_log_odds=mixture.log_odds(aligned) + rest_by_extremes,
        rest_scores=rest_joined,
        rest_by_extremes=rest_by_extremes,
        separations=(few - many)[:-1] / np.sqrt(np.diag(noise)),
    )


def _covariance(values: np.ndarray) -> np.ndarray:
    """(v, v) of (v, m) float64 values; ``np.cov`` would first copy them."""
    count, means = values.shape[1], values.mean(1)
    return (values @ values.T - count * np.outer(means, means)) / (count - 1)


def clipped(scores: np.ndarray, reaches: np.ndarray) -> np.ndarray:
    """Scores about 0, none further than its reach; the two are broadcast."""
    return reaches * np.tanh(scores / reaches)


def _aligned(rest: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Scores of other classes, moved so that most of them lie where this class's many do.

    What is asked is whether other classes have a tail like the group, not whether their content
    is another.
    """
    centre = middle(rest)
    spread = deviation(rest, centre).item()
    return (rest - centre) * min(1.0, mixture.many_sd / spread) + mixture.many
