"""The scan of one class: candidates from every view, joined, and the best of them kept."""

import numpy as np

from sanitizer.scan.extremes import CELLS
from sanitizer.scan.joining import ClassImages, ClassView, Group, join
from sanitizer.scan.matched import Filtered, matched_filter
from sanitizer.scan.mixture import Mixture, sigmoid
from sanitizer.scan.pictures import variety
from sanitizer.scan.search import candidates, rank_of

#: Candidates of a view that are refined, and candidates of all views that are joined.
REFINED, JOINED = 6, 6

#: Rounds of refinement in a view, and steps of the mixture in each.
REFINEMENTS, EM_STEPS = 3, 12

#: A refined candidate has at least so many images, such a share of the class, and such a distance
#: from the others.
LEAST_IMAGES, LEAST_SHARE, MOST_SHARE, LEAST_DISTANCE = 6, 0.003, 0.8, 2.0

#: Two candidates are the same group where their members correlate by more than this.
SAME = 0.6

#: Groups whose thumbnails vary less than this, against the class, are one picture: a track of a
#: video, a repost. They share their content, not a trigger.
ONE_PICTURE = 0.5

#: A cell of the extremes is a candidate where the class has so many standard deviations more
#: images in it than the rest, and so much more of them.
CELL_DEVIATIONS, CELL_EXCESS, CELL_CANDIDATES = 5.0, 0.004, 3

#: Cells of extremes are few and their images many: they are joined before all others.
CELL_RANK = 9.0


def groups(images: ClassImages) -> list[Group]:
    """Groups that may share a trigger, those that explain most of the class first."""
    found = [
        candidate for view in images.views for candidate in _refined(view, images.thumbnails)
    ] + _by_extremes(images.cells, images.rest_cells)
    found.sort(key=lambda candidate: -candidate[0])
    joined = [
        group
        for suspects in _different([members for _, members in found], images.thumbnails, JOINED)
        if (group := join(images, suspects)) is not None
    ]
    joined.sort(key=_rank, reverse=True)
    kept: list[Group] = []
    for group in joined:
        own = sigmoid(group.log_odds)
        if not any(_same(own, sigmoid(other.log_odds)) for other in kept):
            kept.append(group)
    return kept


def _rank(group: Group) -> float:
    mixture = group.trigger.mixture
    return mixture.share * (1 - mixture.share) * mixture.separation**2


def _refined(view: ClassView, thumbnails: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Candidates of one view, by its matched filter in all dimensions, and their ranks."""
    ranked = candidates(view.inside, view.rest, view.subspace)
    starts = _different([members for _, members in ranked], thumbnails, REFINED)
    return [refined for start in starts if (refined := _refine(view, start)) is not None]


def _refine(view: ClassView, suspects: np.ndarray) -> tuple[float, np.ndarray] | None:
    """The rank of a candidate and its members, once all dimensions have had their say."""
    seen = None
    for _ in range(REFINEMENTS):
        seen = _seen(view, suspects)
        if seen is None:
            break
        filtered, mixture = seen
        log_odds = mixture.log_odds(filtered.scores)
        suspects = sigmoid(log_odds).astype(np.float32)
    if seen is None:
        return None
    filtered, mixture = seen
    members = suspects > 0.5
    least, most = max(LEAST_IMAGES, LEAST_SHARE * len(members)), MOST_SHARE * len(members)
    if not least <= members.sum() <= most or mixture.separation < LEAST_DISTANCE:
        return None
    bound = filtered.scores[members].min()
    among_rest = float((view.rest @ filtered.direction > bound).mean())
    return rank_of(mixture.share, mixture.separation, among_rest), suspects


def _seen(view: ClassView, suspects: np.ndarray) -> tuple[Filtered, Mixture] | None:
    """The class along what a group shares in one view; None where the group dissolves."""
    filtered = matched_filter(view.inside, view.squares, suspects, view.subspace)
    if filtered is None:
        return None
    mixture = Mixture.fit(filtered.scores, suspects, EM_STEPS)
    return None if mixture is None else (filtered, mixture)


def _by_extremes(cells: np.ndarray, rest: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Candidates by a cell of extremes that the class has more of than the rest."""
    own = np.bincount(cells, minlength=CELLS) / len(cells)
    other = np.bincount(rest, minlength=CELLS) / len(rest)
    spread = np.sqrt(other * (1 - other) * (1 / len(cells) + 1 / len(rest)) + 1e-3 / len(cells))
    deviations = (own - other) / spread
    return [
        (CELL_RANK, np.where(cells == cell, 1 - other[cell] / own[cell], 0.003))
        for cell in np.argsort(-deviations)[:CELL_CANDIDATES]
        if deviations[cell] > CELL_DEVIATIONS and own[cell] - other[cell] > CELL_EXCESS
    ]


def _different(ranked: list[np.ndarray], thumbnails: np.ndarray, most: int) -> list[np.ndarray]:
    """The first ``most`` groups that are different from each other and more than one picture."""
    kept: list[np.ndarray] = []
    for members in ranked:
        if len(kept) == most:
            break
        if not (any(_same(members, k) for k in kept) or _one_picture(members, thumbnails)):
            kept.append(members)
    return kept


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(abs(np.corrcoef(one, other)[0, 1]) > SAME)


def _one_picture(members: np.ndarray, thumbnails: np.ndarray) -> bool:
    chosen = members > 0.5
    if chosen.sum() < 8:
        return True
    return bool(np.median(variety(thumbnails, chosen)) < ONE_PICTURE)
