"""Scores of clean images, and what they say of a new score: its conformal p-value.

The p-value of a score s against n clean scores is ``(1 + #{clean >= s}) / (1 + n)``
(Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005). For a clean image
that is exchangeable with the calibration images, it is at most p with probability at most p.

Nobody knows which clean images a stranger's set resembles. So a detector carries several
groups of calibration scores for each kind of image, of other content and history, and the p-value
of an image is its largest over the groups of its kind: what is said of it then holds for each group
and for every mixture. A large set tells more of its own clean images, see :mod:`detector.bulk`.
"""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Self

import msgspec
import numpy as np

from detector.kinds import ANY_PARTS, ENCODINGS, OTHER, in_words
from detector.scores import DECIMALS, Scores
from sanitizer.record import Record, check_keys

#: Images of a calibration group at least: what a clean loss of 1 % needs.
MIN_IMAGES = 99


@dataclass(frozen=True)
class PValues:
    """The conformal p-values of n images."""

    values: np.ndarray  #: (n,) float64, above 0, at most 1
    #: Of the calibration group whose p-value is the largest, for each image: clean images that
    as_high: np.ndarray  #: score at least as high, (n,) int64
    compared: np.ndarray  #: there are, (n,) int64


@dataclass(frozen=True, eq=False)  # arrays have no one answer to whether they are equal
class CalibrationGroup:
    """Scores of clean images of one kind.

    Raises:
        ValueError: a name that does not fit on a line, no range of parts, no encoding, or scores
            that are not ascending from 0 to 1.
    """

    name: str  #: what is on them and how it came about, such as "small photos, jpeg q75"
    parts: tuple[int, int]  #: the numbers of parts that the group speaks for, from and to
    encoding: int | None  #: place in ``ENCODINGS`` of those that it speaks for; None: any
    scores: np.ndarray  #: (n,) float32, ascending, 0 to 1

    def __post_init__(self) -> None:
        if not self.name.isprintable() or not 1 <= len(self.name) <= 200:
            raise ValueError(f"calibration group: expected a name on one line, got {self.name!r}")
        if not 1 <= self.parts[0] <= self.parts[1] <= ANY_PARTS[1]:
            raise ValueError(f"calibration group {self.name!r}: expected 1 <= min <= max parts")
        scores = self.scores
        if not _are_scores(scores) or (np.diff(scores) < 0).any():
            raise ValueError(
                f"calibration group {self.name!r}: expected ascending scores from 0 to 1"
            )

    def speaks_for(self, parts: np.ndarray, encodings: np.ndarray) -> np.ndarray:
        """Which of (n,) images the group speaks for, (n,) bool.

        Where the header does not tell enough of an encoding, all groups of the size speak.
        """
        low, high = self.parts
        alike = self.encoding is None or (encodings == self.encoding) | (encodings == OTHER)
        return (parts >= low) & (parts <= high) & alike

    @property
    def kind(self) -> str:
        """What it speaks for, in words."""
        return in_words(self.parts, self.encoding)

    def as_high(self, scores: np.ndarray) -> np.ndarray:
        """How many of the group score at least as high as each of (m,) scores, (m,) int64."""
        below = np.searchsorted(self.scores, scores.astype(np.float32), side="left")
        return len(self.scores) - below

    def threshold(self, limit: float) -> float | None:
        """The score above which the p-value is at most ``limit``, 0 to below 1.

        None for a group that is too small: no score reaches the limit.
        """
        allowed = math.floor(limit * (1 + len(self.scores)) + 1e-9) - 1
        return None if allowed < 0 else float(self.scores[len(self.scores) - 1 - allowed])


@dataclass(frozen=True)
class Calibration:
    """All groups of clean scores that a detector is calibrated on.

    >>> from detector.kinds import LOSSLESS
    >>> clean = np.linspace(0, 0.5, 99, dtype=np.float32)
    >>> calibration = Calibration((CalibrationGroup("photos", (1, 1), LOSSLESS, clean),))
    >>> scores = Scores(np.float32([0.6, 0.25]), np.array([1, 1]), np.full(2, LOSSLESS))
    >>> calibration.p_values(scores).values.tolist()
    [0.01, 0.51]
    >>> calibration.thresholds(0.01, [(1, LOSSLESS)])
    {'1 part, lossless': 0.5}
    >>> calibration.thresholds(0.001, [(1, LOSSLESS)])
    {}
    """

    groups: tuple[CalibrationGroup, ...] = ()
    #: Clean images that no other is compared with, such as drawings: they only tell what scores of
    #: clean images may look like, see :mod:`detector.bulk`.
    unusual: tuple[CalibrationGroup, ...] = ()

    @classmethod
    def of_trusted(cls, scores: Scores) -> Self:
        """One group of images that the user trusts; it speaks for images of any size."""
        return cls((CalibrationGroup("trusted", ANY_PARTS, None, np.sort(scores.values)),))

    def covers(self, parts: int, encoding: int) -> bool:
        """Whether some group speaks for images of so many parts and that encoding."""
        one = np.array([parts]), np.array([encoding])
        return any(group.speaks_for(*one).all() for group in self.groups)

    def p_values(self, scores: Scores) -> PValues:
        """The p-value of each image: the largest over the groups that speak for it.

        Raises:
            ValueError: a score that is not finite or not in [0, 1], or a kind of image for which no
                group speaks.
        """
        if not _are_scores(scores.values):
            raise ValueError("expected scores in [0, 1], got NaN or a value outside")
        values = np.zeros(len(scores))
        as_high, compared = (np.zeros(len(scores), np.int64) for _ in range(2))
        for group in self.groups:
            mine = np.flatnonzero(group.speaks_for(scores.parts, scores.encodings))
            if not len(mine):
                continue
            n, of_group = len(group.scores), group.as_high(scores.values[mine])
            p_values = (1 + of_group) / (1 + n)
            higher = p_values > values[mine]
            highest = mine[higher]
            values[highest], as_high[highest], compared[highest] = (
                p_values[higher],
                of_group[higher],
                n,
            )
        if not values.all():
            parts, encoding = (int(of[values == 0][0]) for of in (scores.parts, scores.encodings))
            raise ValueError(
                f"no calibration group speaks for images of {in_words((parts, parts), encoding)}"
            )
        return PValues(values, as_high, compared)

    def thresholds(self, limit: float, kinds: Collection[tuple[int, int]]) -> dict[str, float]:
        """For each kind of image the score above which the p-value is at most ``limit``.

        A kind of which some group is too small has none: there no score reaches the limit.

        Args:
            limit: 0 to below 1.
            kinds: those that there are, each a number of parts and an encoding; others are left
                out.
        """
        thresholds: dict[str, float] = {}
        for kind, groups in self._by_kind(kinds).items():
            reached = [t for t in (group.threshold(limit) for group in groups) if t is not None]
            if len(reached) == len(groups):
                thresholds[kind] = max(reached)
        return thresholds

    def groups_of(self, kinds: Collection[tuple[int, int]]) -> tuple[CalibrationGroup, ...]:
        """The groups that speak for any of some kinds, each a number of parts and an encoding."""
        parts, encodings = (np.array([kind[i] for kind in kinds], np.int64) for i in (0, 1))
        return tuple(group for group in self.groups if group.speaks_for(parts, encodings).any())

    def _by_kind(
        self, kinds: Collection[tuple[int, int]]
    ) -> dict[str, tuple[CalibrationGroup, ...]]:
        """The groups that speak for each of some kinds, by the kind in words."""
        found = {}
        for parts, encoding in sorted(kinds):
            one = np.array([parts]), np.array([encoding])
            groups = tuple(group for group in self.groups if group.speaks_for(*one).all())
            if groups:
                asked = encoding if any(group.encoding is not None for group in groups) else None
                found[in_words(groups[0].parts, asked)] = groups
        return found

    @property
    def smallest_group(self) -> int:
        """Clean images in its smallest group."""
        return min(len(group.scores) for group in self.groups)

    @property
    def smallest_p_value(self) -> float:
        """The smallest p-value that an image can get; 1 without any group."""
        of_kinds = [
            max(1 / (1 + len(group.scores)) for group in groups)
            for groups in self._kinds().values()
        ]
        return min(of_kinds, default=1.0)

    def _kinds(self) -> dict[str, list[CalibrationGroup]]:
        """The groups by what they speak for."""
        kinds: dict[str, list[CalibrationGroup]] = {}
        for group in self.groups:
            kinds.setdefault(group.kind, []).append(group)
        return kinds

    def check(self, max_clean_loss: float) -> None:
        """See that a clean loss can be promised at all.

        Raises:
            ValueError: there is no group, or one so small that no score could ever reach
                ``max_clean_loss``.
        """
        if not self.groups:
            raise ValueError("calibration: expected at least one group of clean scores, got none")
        for group in self.groups:
            if 1 / (1 + len(group.scores)) > max_clean_loss + 1e-12:
                needed = math.ceil(1 / max_clean_loss - 1e-9) - 1
                raise ValueError(
                    f"calibration group {group.name!r} has {len(group.scores)} clean images; a "
                    f"clean loss of {max_clean_loss:g} needs at least {needed}: "
                    "give more clean images or allow a larger clean loss"
                )

    def digest(self) -> str:
        """SHA-256, hexadecimal, over all groups and their scores."""
        digest = hashlib.sha256()
        for group, is_unusual in self._all():
            words = f"{group.name}|{group.parts}|{group.encoding}|{is_unusual}|"
            digest.update(words.encode())
            digest.update(np.ascontiguousarray(group.scores, np.float32).tobytes())
        return digest.hexdigest()

    def to_json(self) -> list[dict[str, Any]]:
        """All groups with their scores, as ``detector.json`` holds them."""
        return [
            _StoredGroup(
                group.name,
                *group.parts,
                None if group.encoding is None else ENCODINGS[group.encoding],
                [round(float(score), DECIMALS) for score in group.scores],
                is_unusual,
            ).to_json()
            for group, is_unusual in self._all()
        ]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The calibration that :meth:`to_json` wrote.

        Raises:
            ValueError: it is not one; the message says where.
        """
        groups = msgspec.convert(value, list[_StoredGroup])
        for group, stored in zip(groups, value, strict=True):
            check_keys(_StoredGroup, stored, f"the calibration group {group.name!r:.80}")
        usual, unusual = (
            tuple(group.loaded() for group in groups if group.unusual == wanted)
            for wanted in (False, True)
        )
        return cls(usual, unusual)

    def _all(self) -> list[tuple[CalibrationGroup, bool]]:
        """Each group, and whether it is an unusual one."""
        return [*((g, False) for g in self.groups), *((g, True) for g in self.unusual)]


@dataclass(frozen=True)
class _StoredGroup(Record):
    """A group as JSON."""

    name: str
    min_parts: int
    max_parts: int
    encoding: str | None  #: one of ``ENCODINGS``
    scores: list[Annotated[float, msgspec.Meta(ge=0, le=1)]]
    unusual: bool = False

    def loaded(self) -> CalibrationGroup:
        """As it is used."""
        return CalibrationGroup(
            self.name,
            (self.min_parts, self.max_parts),
            _place(self.encoding),
            np.array(self.scores, np.float32),
        )


def _place(encoding: str | None) -> int | None:
    if encoding is not None and encoding not in ENCODINGS:
        raise ValueError(f"unknown encoding {encoding!r:.80}, known: {', '.join(ENCODINGS)}")
    return None if encoding is None else ENCODINGS.index(encoding)


def _are_scores(values: np.ndarray) -> bool:
    return bool(
        values.ndim == 1
        and np.isfinite(values).all()
        and (values >= 0).all()
        and (values <= 1).all()
    )
