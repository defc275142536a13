"""What a worker is told of a pass, and how it does one shard of it, on whatever engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.runs.output import Output, write_failure
from pipelines.runs.passes import Receipt, Step
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.runs.threads import give_memory_back
from pipelines.sources.base import Reader, Shard
from sanitizer.errors import GO_ON, FreqsanError, RunError
from sanitizer.files import DISK_FULL


@dataclass(frozen=True)
class PassWork:
    """All that a worker needs to do any shard of a pass. It travels to the workers."""

    pass_name: str
    step: Step[Any]
    reader: Reader
    store: Store
    total: int  #: shards of the pass
    workers: int  #: that share the cores of one machine, in whatever processes
    threads: int  #: of this worker's process, which its shards share
    ahead: int  #: batches of a shard that may be under way at a time

    def set_up(self) -> None:
        """Load what the step needs, once in a process.

        Raises:
            FreqsanError: it cannot be; the driver finds it, too.
        """
        try:
            self.step.setup(self.workers)
        except FreqsanError as error:
            write_failure(self.store, error)
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
                receipt = Receipt(index, rows, counts.to_json(), task.publish())
                Output.write_receipt(self.store, self.pass_name, receipt)
            give_memory_back()
        except FreqsanError as error:
            write_failure(self.store, error)
            raise
        except OSError as error:
            if error.errno not in DISK_FULL:  # which the driver has words for
                write_failure(
                    self.store,
                    RunError(
                        f"{error.strerror or error} ({error.filename2 or error.filename}); {GO_ON}"
                    ),
                )
            raise
