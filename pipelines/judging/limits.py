"""Limits on a finished run: how much may go unjudged, and how much may be poisoned.

They change nothing of a run and nothing of what it writes, so they are no part of its plan: a
finished run that is started again with other limits is only held against those.
"""

from collections.abc import Mapping
from typing import Protocol, TypeVar

from sanitizer.errors import InputError, PoisonedError, UnjudgedError
from sanitizer.summary import MAX_UNJUDGED, unjudged


class _Read(Protocol):
    @property
    def read(self) -> int: ...


class _Judged(_Read, Protocol):
    @property
    def clean(self) -> int: ...

    @property
    def poisoned(self) -> int: ...


class _ReadResult(Protocol):
    """A manifest that counts what could not be judged."""

    @property
    def counts(self) -> _Read: ...

    @property
    def rejected_by_reason(self) -> Mapping[str, int]: ...


class _JudgedResult(Protocol):
    """A manifest that counts verdicts."""

    @property
    def counts(self) -> _Judged: ...


AnyRead = TypeVar("AnyRead", bound=_ReadResult)
AnyJudged = TypeVar("AnyJudged", bound=_JudgedResult)


def unjudged_limit(max_unjudged: float | None, *, allow_unjudged: bool) -> float:
    """The share of images that may go unjudged.

    Args:
        max_unjudged: as the user gave it; None: a half.
        allow_unjudged: the same as a share of 1.

    Raises:
        InputError: no share, or both were given.
    """
    if max_unjudged is None:
        return 1.0 if allow_unjudged else MAX_UNJUDGED
    if allow_unjudged:
        raise InputError(
            "--allow-unjudged is the same as --max-unjudged 1, and cannot be given with "
            f"--max-unjudged {max_unjudged:g}; give one of them"
        )
    return check_share("max unjudged", max_unjudged)


def check_share(name: str, share: float) -> float:
    """A share that a user gave.

    >>> check_share("max unjudged", 5)
    Traceback (most recent call last):
    sanitizer.errors.InputError: max unjudged: expected a share from 0 to 1, got 5; 0.05 is 5 %

    Raises:
        InputError: it is none.
    """
    if not 0 <= share <= 1:
        hint = f"; {share / 100:g} is {share:g} %" if 1 < share <= 100 else ""
        raise InputError(f"{name}: expected a share from 0 to 1, got {share:g}{hint}")
    return share


def check_judged(manifest: AnyRead, at_most: float) -> AnyRead:
    """The manifest of a finished run, if no more than that share of its images went unjudged.

    Raises:
        UnjudgedError: more did.
    """
    if words := unjudged(manifest.counts.read, manifest.rejected_by_reason, at_most):
        limit = "" if at_most == MAX_UNJUDGED else f", and --max-unjudged is {at_most:g}"
        raise UnjudgedError(
            f"{words}{limit}; the output is complete all the same, with the reason for each image: "
            "give --allow-unjudged to accept that",
            manifest,
        )
    return manifest


def check_poisoned(manifest: AnyJudged, at_most: float | None) -> AnyJudged:
    """The manifest of a finished run, if no more than that share of what it judged is poisoned.

    Args:
        at_most: None: any share may be.

    Raises:
        PoisonedError: more is.
    """
    poisoned = manifest.counts.poisoned
    judged = poisoned + manifest.counts.clean
    if at_most is not None and poisoned > at_most * judged:
        raise PoisonedError(
            f"{poisoned:,} of {judged:,} judged images are poisoned ({poisoned / judged:.2%}), and "
            f"--fail-on-poisoned is {at_most:g}; the output is complete: see there what they are",
            manifest,
        )
    return manifest
