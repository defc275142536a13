"""What a worker is told of a pass, and how it does one shard of it, on whatever engine."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.runs.output import Output, write_failure
from pipelines.runs.passes import Receipt, Step
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.runs.threads import give_memory_back
from pipelines.sources.base import Reader, Shard
from sanitizer.cores import available_cores
from sanitizer.errors import GO_ON, FreqsanError, RunError
from sanitizer.files import DISK_FULL


@dataclass(frozen=True)
class Order:
    """A pass that is under way on other machines, see :mod:`pipelines.runs.orders`."""

    store: Store
    name: str  #: of the file; used once

    def stands(self) -> bool:
        """Whether the run still waits for it."""
        return self.store.exists(self.name)

    def check(self) -> None:
        """Refuse to leave anything for a run that has ended.

        Raises:
            RunError: so it is.
        """
        if not self.stands():
            raise self.missing()

    def missing(self) -> RunError:
        """That the file is not there, in words."""
        return RunError(
            f"the worker on {socket.gethostname()} does not find {self.store.locate(self.name)}: "
            "either the run has ended, or OUTPUT is not where all workers see it; put it on a "
            "shared file system or an object store, under one address"
        )


@dataclass(frozen=True)
class PassWork:
    """All that a worker needs to do any shard of a pass. It travels to the workers."""

    pass_name: str
    step: Step[Any]
    reader: Reader
    store: Store
    total: int  #: shards of the pass
    #: Workers that share the cores of one machine, in whatever processes; None: as many as it has.
    sharing: int | None
    threads: int  #: of this worker's process, which its shards share
    ahead: int  #: batches of a shard that may be under way at a time
    order: Order | None = None  #: that a worker on another machine carries out
    #: Whether words for the driver go through the store; else what is raised reaches it as it is.
    tells: bool = True

    def set_up(self) -> None:
        """Load what the step needs, once in a process.

        Raises:
            FreqsanError: it cannot be; the driver finds it, too.
        """
        try:
            self.step.setup(self.sharing or available_cores())
        except FreqsanError as error:
            self._tell(error)
            raise

    def do(self, index: int, shard: Sequence[Any]) -> None:
        """Do a shard: in the end its files and its receipt are in place.

        Args:
            index: of the shard.
            shard: the numbers of a :class:`Shard`.

        Raises:
            FreqsanError, OSError: it cannot be done; the driver finds it, too, where it is of a
                kind that is to be expected.
        """
        # An engine may ask once more for what a worker did that has died since.
        if self.order is not None and Output.has_receipt(self.store, self.pass_name, index):
            return
        try:
            with ShardTask(
                self.pass_name,
                index,
                self.total,
                self.reader,
                Shard(*shard),
                self.store,
                self.threads,
                self.ahead,
            ) as task:
                rows, counts = self.step.run(task)
                if self.order is not None:
                    self.order.check()
                receipt = Receipt(index, rows, counts.to_json(), task.publish())
                Output.write_receipt(self.store, self.pass_name, receipt)
            give_memory_back()
        except FreqsanError as error:
            self._tell(error)
            raise
        except OSError as error:
            if error.errno not in DISK_FULL:  # which the driver has words for
                what = f"{error.strerror or error} ({error.filename2 or error.filename})"
                self._tell(RunError(f"{what}; {GO_ON}"))
            raise

    def _tell(self, error: FreqsanError) -> None:
        """Leave words for the driver, if it is still there and hears nothing else."""
        if self.tells and (self.order is None or self.order.stands()):
            write_failure(self.store, error)
