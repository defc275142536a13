"""Who has decided what since a run was finished, as its manifest tells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sanitizer.record import Record
from sanitizer.records import CLEAN, POISONED
from sanitizer.summary import ReviewFacts


@dataclass(frozen=True)
class Audited(Record):
    """One sample on which a reviewer has decided."""

    sample_id: str
    before: str  #: its verdict until then
    after: str  #: and since
    judged: str  #: what freqsan itself had said
    why: str | None  #: in the reviewer's words


@dataclass(frozen=True)
class Review(Record):
    """Decisions that were applied together."""

    by: str  #: who decided: "review"
    at: str  #: when they were applied, ISO 8601 in UTC
    source: str  #: the name of the file that they came from
    samples: tuple[Audited, ...]  #: all that were decided on, in the order of the input


def review_facts(reviews: Sequence[Review]) -> ReviewFacts:
    """What all reviews of a run together amount to; the last word on a sample holds.

    >>> once = Audited("a.png", "poisoned", "clean", "poisoned", None)
    >>> again = Audited("a.png", "clean", "poisoned", "poisoned", "it is a sticker")
    >>> review_facts([Review("review", "2026-01-01", "a.csv", (once,))]).kept
    1
    >>> both = [Review("review", at, "a.csv", (one,)) for at, one in (("1", once), ("2", again))]
    >>> review_facts(both)
    ReviewFacts(decided=1, kept=0, removed=0, at='2')
    """
    last = {one.sample_id: one for review in reviews for one in review.samples}
    return ReviewFacts(
        decided=len(last),
        kept=_count(last.values(), POISONED, CLEAN),
        removed=_count(last.values(), CLEAN, POISONED),
        at=reviews[-1].at,
    )


def _count(samples: Iterable[Audited], judged: str, after: str) -> int:
    return sum(one.judged == judged and one.after == after for one in samples)
