"""What a proof needs of other wings; the job ``prove`` hands it in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.poisoning.facts import PoisonCounts
from pipelines.proof.records import CleanCounts
from sanitizer.record import Record


@dataclass(frozen=True)
class Cleaned(Record):
    """What cleaning did to a set."""

    counts: CleanCounts
    rejected_by_reason: dict[str, int]  #: rejected samples by the kind of the reason


@dataclass(frozen=True)
class Tools:
    """The jobs within a proof, and the question that is asked before a model answers.

    The jobs go on where they were stopped, and do nothing where they are finished.
    """

    #: put the trigger on part of a set: the set, where the copy is written, the seed
    poison: Callable[[Path, Path, int], PoisonCounts]
    #: clean a set: the set, where the result is written
    clean: Callable[[Path, Path], Cleaned]
    #: (n,) bool, which of n encoded images a model should not classify
    reject: Callable[[Sequence[bytes | None]], np.ndarray]
