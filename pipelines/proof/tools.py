"""What a proof needs of other wings; the job ``prove`` hands it in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.poisoning.facts import PoisonCounts
from pipelines.runs.store import Store
from sanitizer.record import Record
from sanitizer.summary import Counts


@dataclass(frozen=True)
class Cleaned(Record):
    """What cleaning did to a set."""

    counts: Counts
    rejected_by_reason: dict[str, int]  #: rejected samples by the kind of the reason


@dataclass(frozen=True)
class Tools:
    """The jobs within a proof, and the question that is asked before a model answers.

    The jobs go on where they were stopped, and do nothing where they are finished.
    """

    #: put the trigger on part of a set: the set, where the copy is written, the seed
    poison: Callable[[str, Store, int], PoisonCounts]
    #: clean a set: the set, where the result is written
    clean: Callable[[str, Store], Cleaned]
    #: (n,) bool, which of n encoded images a model should not classify
    reject: Callable[[Sequence[bytes | None]], np.ndarray]
