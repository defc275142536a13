"""A pass over an input: what is done with each shard, and what the driver makes of it all.

A job is a short list of passes. Each is one linear chain over the shards
(:mod:`pipelines.runs.chain`); a shard leaves its files, at most one artefact for the next
pass, and a receipt. When all shards have one, the driver merges them, in a way that does not
depend on their order, and hands the result to the next pass. A run that was killed goes on at
the first shard without a receipt.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runs import layout
from pipelines.runs.manifest import FileFacts
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.sources.base import Shard, Source
from sanitizer.record import Record

Given = TypeVar("Given")
Made = TypeVar("Made")
Counted = TypeVar("Counted", bound=Record)


@dataclass(frozen=True)
class Receipt(Record):
    """What says that a shard of a pass is finished."""

    index: int  #: of the shard
    rows: int  #: samples in it
    counts: dict[str, Any]  #: the pass's own counts, as JSON
    files: dict[str, FileFacts]  #: by name


class Work(NamedTuple):
    """What a pass has to do."""

    pieces: Sequence[Shard]  #: each is done by itself
    rows: int | None  #: in all of them; None where it is not known
    sizes: Sequence[int] = ()  #: bytes of each, where rows are not known


@dataclass(frozen=True)
class NoCounts(Record):
    """The counts of a pass that counts nothing but its rows."""


class Step(ABC, Generic[Counted]):
    """What a pass does with one shard. Picklable: it is sent to the workers."""

    def setup(self, workers: int) -> None:
        """Load what is too big to travel, once a worker that has so many threads.

        Most steps travel whole, and have nothing to load.
        """

    @abstractmethod
    def run(self, task: ShardTask) -> tuple[int, Counted]:
        """Read the shard, write and finish its files; returns its rows and its counts."""


@dataclass(frozen=True)
class Finished(Generic[Counted]):
    """A pass whose shards are all done."""

    store: Store
    pass_name: str
    receipts: list[Receipt]  #: of all shards, in order
    counts: list[Counted]  #: of all shards, in order

    @property
    def rows(self) -> int:
        """Samples in all shards."""
        return sum(receipt.rows for receipt in self.receipts)

    def artefacts(self, columns: list[str]) -> Iterator[pa.Table]:
        """Some columns of what each shard left to the next pass, shard after shard."""
        for receipt in self.receipts:
            with self.store.open(layout.artefact(self.pass_name, receipt.index)) as file:
                yield pq.read_table(file, columns=columns)


class Pass(ABC, Generic[Given, Counted, Made]):
    """One pass of a job; a new one is a subclass, and an entry in the job's list."""

    name: ClassVar[str]  #: of its folder below ``.freqsan``
    #: Threads that one shard keeps busy: several where its step works by ``task.map``, 1 where
    #: it reads and writes all by itself.
    threads_a_shard: ClassVar[int] = 1
    doing: str  #: the word that progress is shown under, such as "scoring"
    counts: ClassVar[type[Record]]  #: what each shard counts, ``Counted``

    def work(self, given: Given, source: Source, store: Store) -> Work:
        """What there is to do: as a rule the shards of the source.

        A pass over other pieces, such as classes, puts what its workers need of them into the
        store; a piece is found again by its number.
        """
        return Work(source.shards, source.rows, source.shard_bytes)

    @abstractmethod
    def step(self, given: Given) -> Step[Counted]:
        """What is done with each shard, ``given`` what the pass before has made."""

    def sent(self, given: Given) -> AbstractContextManager[Step[Counted]]:
        """The same for other processes of this machine, beside whatever they need this one for."""
        return nullcontext(self.step(given))

    @abstractmethod
    def merge(self, given: Given, finished: Finished[Counted]) -> Made:
        """What all shards together amount to: for the next pass, or for the job."""
