"""What was done to a set that was poisoned, in numbers that add up."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from sanitizer.record import Record


@dataclass(frozen=True)
class PoisonCounts(Record):
    """Samples by what became of them."""

    read: int = 0  #: in all
    eligible: int = 0  #: of a label that may be poisoned
    poisoned: int = 0  #: with the trigger and the attacker's label
    covers: int = 0  #: with the trigger under their true label
    unlabelled: int = 0  #: without a label, or with one that is no class; left alone
    undecodable: int = 0  #: chosen but left alone, as they cannot be decoded


@dataclass(frozen=True)
class PoisonTally(Record):
    """What was done to some samples; adds up in any order."""

    counts: PoisonCounts = PoisonCounts()
    undecodable: dict[str, int] = field(default_factory=dict)  #: by the kind of the reason

    @classmethod
    def total(cls, parts: Iterable["PoisonTally"]) -> "PoisonTally":
        """The tally of the samples of all parts; reasons in alphabetical order."""
        counts, undecodable = Counter[str](), Counter[str]()
        for part in parts:
            counts.update(asdict(part.counts))
            undecodable.update(part.undecodable)
        return cls(PoisonCounts(**counts), dict(sorted(undecodable.items())))


@dataclass(frozen=True)
class AttackFacts(Record):
    """What an attack is, for people."""

    title: str
    source: str  #: the paper that the trigger comes from
