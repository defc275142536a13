"""The scan of one class: candidates from every view, joined, and the best of them kept."""

from collections.abc import Iterable

import numpy as np

from sanitizer.scan.extremes import CELLS
from sanitizer.scan.joining import ClassImages, Group, join, look
from sanitizer.scan.mixture import sigmoid
from sanitizer.scan.pictures import variety
from sanitizer.scan.search import LEAST_IMAGES, candidates

#: Candidates of each view, and how many of all are left after each look in all views together.
#: What shows in one view alone is found by its rank there; what shows in many, by the first look.
OF_A_VIEW, LEFT = 24, (48, 24, 12)

#: Two groups are the same where their members correlate by more than this; before they are joined
#: they may still part.
SAME = 0.6

#: Groups whose thumbnails vary less than this, against the class, are one picture: a track of a
#: video, a repost. They share their content, not a trigger.
ONE_PICTURE = 0.5

#: A cell of the extremes is a candidate where the class has so many standard deviations more
#: images in it than the rest, and so much more of them.
CELL_DEVIATIONS, CELL_EXCESS, CELL_CANDIDATES = 5.0, 0.004, 3


def groups(images: ClassImages) -> list[Group]:
    """Groups that may share a trigger, the strongest first."""
    suspects = _by_extremes(images.cells, images.rest_cells)
    for view in images.views:
        ranked = candidates(view.inside, view.rest, view.subspace)
        suspects += _different((members for _, members in ranked), images.thumbnails, OF_A_VIEW)
    for most in LEFT:
        if not suspects:
            return []
        looked = sorted(look(images, np.stack(suspects, 1)), key=_strength, reverse=True)
        suspects = _different(map(_probabilities, looked), images.thumbnails, most)
    joined = [group for one in suspects if (group := join(images, one)) is not None]
    joined.sort(key=_strength, reverse=True)
    known = _Known(len(images))
    return [group for group in joined if known.is_new(_probabilities(group))]


def _strength(group: Group) -> float:
    return group.strength


def _probabilities(group: Group) -> np.ndarray:
    return sigmoid(group.log_odds)


def _by_extremes(cells: np.ndarray, rest: np.ndarray) -> list[np.ndarray]:
    """Candidates by a cell of extremes that the class has more of than the rest."""
    own = np.bincount(cells, minlength=CELLS) / len(cells)
    other = np.bincount(rest, minlength=CELLS) / len(rest)
    spread = np.sqrt(other * (1 - other) * (1 / len(cells) + 1 / len(rest)) + 1e-3 / len(cells))
    deviations = (own - other) / spread
    return [
        np.where(cells == cell, 1 - other[cell] / own[cell], 0.003)
        for cell in np.argsort(-deviations)[:CELL_CANDIDATES]
        if deviations[cell] > CELL_DEVIATIONS and own[cell] - other[cell] > CELL_EXCESS
    ]


def _different(ranked: Iterable[np.ndarray], thumbnails: np.ndarray, most: int) -> list[np.ndarray]:
    """The first ``most`` groups that are different from each other and more than one picture."""
    known = _Known(len(thumbnails))
    kept: list[np.ndarray] = []
    for members in ranked:
        if len(kept) == most:
            break
        if not _one_picture(members, thumbnails) and known.is_new(members):
            kept.append(members)
    return kept


class _Known:
    """Groups that were met, of n images."""

    def __init__(self, images: int):
        self._rows = np.empty((0, images), np.float32)  # of each, of mean 0 and length 1

    def is_new(self, members: np.ndarray) -> bool:
        """Whether a group, (n,) probabilities, is none that was met; then it is one of them."""
        row = (members - members.mean()).astype(np.float32)
        row /= np.linalg.norm(row) + 1e-9
        if (np.abs(self._rows @ row) > SAME).any():
            return False
        self._rows = np.concatenate([self._rows, row[None]])
        return True


def _one_picture(members: np.ndarray, thumbnails: np.ndarray) -> bool:
    chosen = members > 0.5
    if chosen.sum() < LEAST_IMAGES:
        return True
    return bool(np.median(variety(thumbnails, chosen)) < ONE_PICTURE)
