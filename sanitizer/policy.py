"""From p-values to verdicts.

A score says how suspicious an image is, and its p-value how often a clean image is as
suspicious: for an innocent image it is at most p with probability at most p. A policy sees the
p-values of a whole set and decides up to which of them images are called poisoned.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from sanitizer.record import Record

#: What a p-value is, for people who read of one.
P_VALUE = "the share of clean images that score as high"

#: 1 / 100 and 0.01 must not differ by rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Decision(Record):
    """What a policy decided of a set.

    >>> decision = Budget(0.01).fit(np.array([0.004, 0.5, 0.01]))
    >>> decision.poisoned(np.array([0.004, 0.5, 0.01])).tolist()
    [True, False, True]
    """

    policy: str  #: name of the policy
    limit: float  #: images with a p-value of at most this are called poisoned; 0: none is
    judged: int  #: images that were judged
    removed: int  #: of them, those called poisoned
    #: Innocent images among the removed, at most, on average: each innocent image has a
    #: p-value of at most ``limit`` with probability at most ``limit``.
    expected_innocents: float
    words: str  #: what was decided, for people

    def withheld(self) -> Self:
        """What is decided where the calibration does not fit the set: none is removed."""
        words = (
            f"Of {self.judged:,} judged images none is removed for its score alone: the set as a "
            "whole seems, or may be, unlike the clean images that it is compared with. Give "
            "--trusted with clean images from the same source to be told what stands out."
        )
        return replace(self, limit=0.0, removed=0, expected_innocents=0.0, words=words)

    @property
    def innocents(self) -> str:
        """How many innocent images are expected among the removed, in whole numbers."""
        return at_most(self.expected_innocents)

    def poisoned(self, p_values: np.ndarray) -> np.ndarray:
        """Which of (n,) p-values are called poisoned, (n,) bool.

        Raises:
            ValueError: a p-value that is NaN, not above 0, or above 1.
        """
        return _checked(p_values) <= self.limit + ROUNDING


class Policy(Protocol):
    """Decides which images of a set are called poisoned."""

    @property
    def name(self) -> str:
        """A short name, such as "budget"."""

    @property
    def max_clean_loss(self) -> float:
        """The share of clean images that may be lost; whether a set is like the clean images is
        judged by what that share would remove."""

    @property
    def abstains(self) -> bool:
        """Whether no image is removed for its score where the calibration does not fit the set."""

    def to_json(self) -> dict[str, Any]:
        """Its settings."""

    def promise(self, kind: str) -> str:
        """What holds on average where innocent images are of a kind, as a sentence without stop.

        Args:
            kind: such as "from the same source".
        """

    def fit(self, p_values: np.ndarray, smallest: float = 0.0, innocents: float = 0.0) -> Decision:
        """Decide by the p-values of all judged images.

        The order of the images does not matter, and those with equal p-values are decided
        alike.

        Args:
            p_values: (n,) float, above 0, at most 1.
            smallest: the smallest p-value that the calibration can give; 0: not known. It
                matters for the words alone.
            innocents: images that are expected to be lost already, to what the scan has found.

        Raises:
            ValueError: a p-value that is NaN, not above 0, or above 1.
        """


@dataclass(frozen=True)
class Budget(Record):
    """Removes what few clean images are like: of innocent images a share at most is lost.

    >>> Budget(0.01).fit(np.array([0.004, 0.02, 0.5])).removed
    1

    Raises:
        ValueError: a share out of range.
    """

    max_clean_loss: float = 0.01  #: share of clean images that may be lost; above 0, at most 0.5

    name = "budget"
    abstains = False

    def __post_init__(self) -> None:
        _check_loss(self.max_clean_loss)

    def promise(self, kind: str) -> str:
        return (
            f"Of clean images {kind}, {_percent(self.max_clean_loss)} or less are expected to be "
            "removed"
        )

    def fit(self, p_values: np.ndarray, smallest: float = 0.0, innocents: float = 0.0) -> Decision:
        """Call poisoned what has a p-value of at most ``max_clean_loss``, less what is lost."""
        limit = max(0.0, self.max_clean_loss - innocents / max(1, len(p_values)))
        why_none = f"none has a p-value of at most {limit:g} ({P_VALUE})"
        return _decision(self.name, limit, p_values, "", why_none)


@dataclass(frozen=True)
class FalseDiscovery(Record):
    """Removes as much as it can while few of the removed images are innocent.

    The procedure of Benjamini and Hochberg (Journal of the Royal Statistical Society B 57,
    1995): of n p-values in ascending order the first k are called poisoned, for the largest k
    with ``p_k <= fdr * k / n``. Then the share of innocent images among the removed is at most
    ``fdr`` on average, for conformal p-values too, although they share their calibration
    images (Bates, Candès, Lei, Romano, Sesia, Annals of Statistics 51, 2023). The limit is never
    above ``max_clean_loss``, and 0 where the calibration does not fit the set: of a clean set next
    to nothing is lost.

    >>> FalseDiscovery(0.05).fit(np.array([0.004, 0.008, 0.5])).removed
    2

    Raises:
        ValueError: a share out of range.
    """

    fdr: float = 0.05  #: share of the removed images that may be innocent; above 0, below 1
    max_clean_loss: float = 0.01  #: share of clean images that may be lost; above 0, at most 0.5

    name = "fdr"
    abstains = True

    def __post_init__(self) -> None:
        _check_loss(self.max_clean_loss)
        if not 0 < self.fdr < 1:
            raise ValueError(f"false discovery rate: expected above 0, below 1, got {self.fdr}")

    def promise(self, kind: str) -> str:
        return f"Where innocent images are {kind}, {self._aim()}"

    def _aim(self) -> str:
        return f"{_percent(self.fdr)} or less of the removed images are expected to be innocent"

    def fit(self, p_values: np.ndarray, smallest: float = 0.0, innocents: float = 0.0) -> Decision:
        """Call poisoned what the procedure of Benjamini and Hochberg rejects.

        What the scan has found is removed beside, by odds of its own that few are innocent.
        """
        p_values = _checked(p_values)
        ordered, n = np.sort(p_values), len(p_values)
        within = ordered * (n / np.arange(1, n + 1)) <= self.fdr + ROUNDING
        rejected = ordered[: np.flatnonzero(within).max(initial=-1) + 1]
        most = max(0.0, self.max_clean_loss - innocents / max(1, n))
        limit = float(rejected[rejected <= most + ROUNDING].max(initial=0.0))
        why_none = self._why_none(p_values, smallest)
        return _decision(self.name, limit, p_values, self._aim(), why_none)

    def _why_none(self, p_values: np.ndarray, smallest: float) -> str:
        """Why no image can be removed: none is suspicious enough, or nobody could tell."""
        aim = f"{_percent(self.fdr)} or less of the removed images to be innocent"
        at_smallest = int(np.count_nonzero(p_values <= smallest + ROUNDING))
        if not at_smallest:
            return f"no image is suspicious enough for {aim}"
        needed = math.ceil(len(p_values) / (self.fdr * at_smallest) - 1e-9) - 1
        return (
            f"{at_smallest:,} {'is' if at_smallest == 1 else 'are'} more suspicious than every "
            f"clean calibration image, but for {aim} it takes at least {needed:,} clean images in "
            "each calibration group: give more by --trusted, or choose --policy budget"
        )


def _percent(share: float) -> str:
    """A share that somebody chose, as he would write it.

    >>> _percent(0.05), _percent(0.001)
    ('5%', '0.1%')
    """
    return f"{100 * share:.6g}%"


def _check_loss(max_clean_loss: float) -> None:
    if not 0 < max_clean_loss <= 0.5:
        raise ValueError(f"max clean loss: expected above 0, at most 0.5, got {max_clean_loss}")


def _decision(policy: str, limit: float, p_values: np.ndarray, aim: str, why_none: str) -> Decision:
    """The decision to call poisoned what has a p-value of at most ``limit``, and its words."""
    judged = len(p_values)
    removed = int(np.count_nonzero(_checked(p_values) <= limit + ROUNDING))
    innocents = min(float(removed), limit * judged)
    if removed:
        are, their, those = ("is", "its", "that") if removed == 1 else ("are", "their", "those")
        words = (
            f"Of {judged:,} judged images {removed:,} {are} removed for {their} score, {those} "
            f"with a p-value of at most {limit:.3g} ({P_VALUE}). Where the calibration fits the "
            "set, "
        )
        few = at_most(innocents)
        if aim:
            words += f"{aim}, here {few}."
        else:
            are = "are" if innocents > 1 else "is"
            words += f"{few} of them {are} expected to be innocent."
    elif judged:
        images = "images" if judged > 1 else "image"
        words = f"Of {judged:,} judged {images} none is removed for its score: {why_none}."
    else:
        words = "No image has a score, so none is removed for one."
    return Decision(policy, limit, judged, removed, innocents, words)


def at_most(expected: float) -> str:
    """An expected number in whole ones.

    >>> at_most(0.2), at_most(3.1)
    ('fewer than one', 'up to 4')
    """
    return "fewer than one" if expected < 1 else f"up to {math.ceil(expected - 1e-9):,}"


def _checked(p_values: np.ndarray) -> np.ndarray:
    p_values = np.asarray(p_values, np.float64)
    if not ((p_values > 0) & (p_values <= 1)).all():
        raise ValueError("expected p-values above 0, at most 1, got NaN or a value outside")
    return p_values
