"""The scan of one class: candidates from every view, joined, and the best of them kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.scan.extremes import CELLS
from sanitizer.scan.joining import ClassImages, ClassView, Group, join, look
from sanitizer.scan.mixture import sigmoid
from sanitizer.scan.pictures import variety
from sanitizer.scan.search import LEAST_IMAGES, Candidates, Subspace, candidates

#: Candidates of each view, and how many of all are left after each look in all views together.
#: What shows in one view alone is found by its rank there; what shows in many, by the first look.
OF_A_VIEW, LEFT = 16, (24, 12)

#: Candidates of each view that other classes are like.
STRANGE_OF_A_VIEW = 4

#: Two groups are the same where their members correlate by more than this; before they are joined
#: they may still part. Of those that are joined a part may be no trigger and the whole one, so
#: only what is nearly the same is left out before it is decided.
SAME, NEARLY_THE_SAME = 0.6, 0.95

#: Groups whose thumbnails vary less than this, against the class, are one picture: a track of a
#: video, a repost. They share their content, not a trigger.
ONE_PICTURE = 0.5

#: Share of the class that two groups have together, at most: a few images that are left of a small
#: class are told from all others by chance.
MOST_UNITED = 0.5

#: A cell of the extremes tells where the class has so many standard deviations more images in it
#: than the rest, and so much more of them.
CELL_DEVIATIONS, CELL_EXCESS = 5.0, 0.004

#: Of being in a group, for images of which nothing says so.
LEAST_PROBABILITY = 0.003


@dataclass(frozen=True)
class Searched:
    """A class whose views were searched, one by one and side by side."""

    images: ClassImages
    own: list[np.ndarray]  #: candidates that other classes have not, (n,) probabilities each
    strange: list[np.ndarray]  #: candidates that other classes are like
    extreme: list[np.ndarray]  #: one by the extremes, if any

    @classmethod
    def of(cls, images: ClassImages) -> Self:
        """Search a class."""
        own: list[np.ndarray] = []
        strange: list[np.ndarray] = []
        for one in _found(images.views):
            own += _different(one.own, images.shapes, OF_A_VIEW)
            strange += _different(one.strange, images.shapes, STRANGE_OF_A_VIEW)
        # Where those who are like other classes are the innocent, the others have the trigger.
        own += [1 - members for members in strange]
        return cls(images, own, strange, _by_extremes(images.cells, images.rest_cells))

    def groups(self) -> list[Group]:
        """Groups that may share a trigger and have it for themselves, the strongest first."""
        suspects = self.own
        for most in LEFT:
            if not suspects:
                break
            looked = _strongest(look(self.images, np.stack(suspects, 1)))
            suspects = _different(
                [_probabilities(group) for group in looked], self.images.shapes, most
            )
        # The views see little of those with the same extremes before they are joined.
        joined = _joined(self.images, self.extreme + suspects)
        return _new_of(self.images, joined + _united(self.images, joined))

    def strangers(
        self, innocent: Sequence[Group]
    ) -> Iterator[tuple[ClassImages, Group, np.ndarray]]:
        """Groups that look like other classes, each with the images it is told from.

        What such a group shares shows little beside the images of its class, from which it differs
        in content, but well beside images of the classes that it is like. So all of the class is
        tried as well, and all but its innocent part.

        Args:
            innocent: groups that may be the innocent part of the class.

        Yields:
            images of the class and, behind them, of others; the group; and (n,) bool,
            which images of the class there are.
        """
        chosen_ones = [np.ones(len(self.images), bool)]
        chosen_ones += [~group.members for group in innocent]
        chosen_ones += [members > 0.5 for members in self.strange]
        for chosen in chosen_ones:
            images = self.images.among_rest(chosen)
            of_class = np.arange(len(images)) < chosen.sum()
            for group in join(images, of_class[:, None].astype(np.float32)):
                yield images, group, chosen


def _found(views: Sequence[ClassView]) -> Iterator[Candidates]:
    """Candidates in each view, and in all side by side; one after the other, as they are large."""
    for view in views:
        yield candidates(view.projected, view.rest_projected, view.subspace.variances)
    yield _in_all(views)


def _in_all(views: Sequence[ClassView]) -> Candidates:
    """Candidates in all views side by side, where what each sees a little of adds up.

    Of each view by the directions in which the class varies most there.
    """
    inside = np.concatenate([view.projected for view in views], 1)
    rest = np.concatenate([view.rest_projected for view in views], 1)
    subspace = Subspace.of(inside, np.random.default_rng(0))
    return candidates(inside @ subspace.basis, rest @ subspace.basis, subspace.variances)


def _joined(images: ClassImages, suspects: Sequence[np.ndarray]) -> list[Group]:
    """Groups that suspects lead to, the strongest first."""
    return _strongest(join(images, np.stack(suspects, 1))) if suspects else []


def _united(images: ClassImages, groups: Sequence[Group]) -> list[Group]:
    """Groups that the strongest leads to, together with each of the others.

    What shows otherwise in dark images than in bright ones is found as two groups, neither of
    which has the content of other classes.
    """
    innocent = [1 - _probabilities(group) for group in groups]
    united = [1 - innocent[0] * other for other in innocent[1:]]
    return _joined(images, [members for members in united if members.mean() <= MOST_UNITED])


def _new_of(images: ClassImages, groups: Sequence[Group]) -> list[Group]:
    """The strongest of groups that are nearly the same, the strongest first."""
    known = _Known(len(images), NEARLY_THE_SAME)
    return [group for group in _strongest(groups) if known.is_new(_probabilities(group))]


def are_new(groups: Sequence[Group]) -> list[bool]:
    """Which of some groups of a class are not for the most part in weightier ones of them."""
    weights = np.array([group.weight for group in groups])
    new = [False] * len(groups)
    known: np.ndarray | bool = False
    for number in np.argsort(-weights).tolist():
        members = groups[number].members
        new[number] = (members & known).sum() <= members.sum() / 2
        if new[number]:
            known = known | members
    return new


def _strongest(groups: Sequence[Group]) -> list[Group]:
    return sorted(groups, key=_strength, reverse=True)


def _strength(group: Group) -> float:
    return group.strength


def _probabilities(group: Group) -> np.ndarray:
    return sigmoid(group.log_odds)


def _by_extremes(cells: np.ndarray, rest: np.ndarray) -> list[np.ndarray]:
    """A candidate by the cells of extremes that the class has more of than the rest, if any."""
    own = np.bincount(cells, minlength=CELLS) / len(cells)
    other = np.bincount(rest, minlength=CELLS) / len(rest)
    spread = np.sqrt(other * (1 - other) * (1 / len(cells) + 1 / len(rest)) + 1e-3 / len(cells))
    more = (own - other > CELL_DEVIATIONS * spread) & (own - other > CELL_EXCESS)
    surplus = np.where(more, 1 - other / np.maximum(own, CELL_EXCESS), LEAST_PROBABILITY)
    return [surplus[cells].astype(np.float32)] if more.any() else []


def _different(ranked: Sequence[np.ndarray], thumbnails: np.ndarray, most: int) -> list[np.ndarray]:
    """The first ``most`` groups that are different from each other and more than one picture."""
    if not ranked:
        return []
    chosen = np.stack(ranked, 1) > 0.5
    varied = np.median(variety(thumbnails, chosen), 1) >= ONE_PICTURE
    enough = chosen.sum(0) >= LEAST_IMAGES
    known = _Known(len(thumbnails), SAME)
    kept: list[np.ndarray] = []
    for number in np.flatnonzero(varied & enough).tolist():
        if len(kept) == most:
            break
        if known.is_new(ranked[number]):
            kept.append(ranked[number])
    return kept


class _Known:
    """Groups that were met, of n images."""

    def __init__(self, images: int, same: float):
        self._same = same
        self._rows = np.empty((0, images), np.float32)  # of each, of mean 0 and length 1

    def is_new(self, members: np.ndarray) -> bool:
        """Whether a group, (n,) probabilities, is none that was met; then it is one of them."""
        row = (members - members.mean()).astype(np.float32)
        row /= np.linalg.norm(row) + 1e-9
        if (np.abs(self._rows @ row) > self._same).any():
            return False
        self._rows = np.concatenate([self._rows, row[None]])
        return True
