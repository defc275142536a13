"""The scan of one class: candidates from every view, joined, and the best of them kept."""

import numpy as np

from sanitizer.scan.extremes import CELLS
from sanitizer.scan.joining import ClassImages, ClassView, Group, join
from sanitizer.scan.matched import matched_filter
from sanitizer.scan.mixture import Mixture, sigmoid
from sanitizer.scan.search import LEAST_SHARE, candidates, rank_of

#: Candidates of a view that are refined, and candidates of all views that are joined.
REFINED, JOINED = 6, 6

#: Rounds of refinement in a view, and steps of the mixture in each.
REFINEMENTS, EM_STEPS = 3, 12

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
    joined.sort(key=lambda g: -g.mixture.share * (1 - g.mixture.share) * g.mixture.separation**2)
    kept: list[Group] = []
    for group in joined:
        own = sigmoid(group.log_odds)
        if not any(_same(own, sigmoid(other.log_odds)) for other in kept):
            kept.append(group)
    return kept


def _refined(view: ClassView, thumbnails: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Candidates of one view, by its matched filter in all dimensions."""
    ranked = candidates(view.inside, view.rest, view.subspace)
    refined = []
    for start in _different([members for _, members in ranked], thumbnails, REFINED):
        suspects, mixture = start, None
        for _ in range(REFINEMENTS):
            filtered = matched_filter(view.inside, view.squares, suspects, view.subspace)
            mixture = filtered and Mixture.fit(filtered.scores, suspects, EM_STEPS)
            if filtered is None or mixture is None:
                break
            log_odds = mixture.log_odds(filtered.scores)
            suspects = sigmoid(log_odds).astype(np.float32)
        else:
            members = log_odds > 0
            if not (
                max(6, 0.003 * len(members)) <= members.sum() <= 0.8 * len(members)
                and mixture.separation >= 2
            ):
                continue
            bound = filtered.scores[members].min()
            among_rest = (view.rest @ filtered.direction > bound).mean()
            rank = rank_of(np.array(mixture.share), np.array(mixture.separation), among_rest)
            refined.append((float(rank), suspects))
    return refined


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
    return bool(np.median(thumbnails[chosen].var(0) / thumbnails.var(0)) < ONE_PICTURE)
