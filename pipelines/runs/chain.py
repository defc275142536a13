"""One linear Beam chain: shards in, files out. The shape that runs on every runner.

``Create(shards) | Reshuffle | ParDo(step)``: elements are a few numbers each and what comes
out are shard numbers, so no pixel crosses a stage boundary. Counts come back through the
receipts beside the files.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from pipelines.runs.checksums import described
from pipelines.runs.cluster import Cluster
from pipelines.runs.engine import last_words, run_pipeline
from pipelines.runs.orders import Order, ordered
from pipelines.runs.output import Output, take_failure, write_failure
from pipelines.runs.passes import Finished, Pass, Receipt, Step
from pipelines.runs.progress import Progress, watch
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.runs.threads import available_cores, give_memory_back
from pipelines.sources.base import Reader, Shard, Source
from sanitizer.errors import GO_ON, FreqsanError, RunError
from sanitizer.files import DISK_FULL
from sanitizer.record import Record

#: What Beam's in-process runner calls running several bundles at once in threads.
_THREADS = "--direct_running_mode=multi_threading"


#: What travels for a shard: its number and the numbers of a :class:`Shard`.
Element = tuple[int, tuple[int | None, ...]]


@dataclass(frozen=True)
class Machines:
    """Where and how wide to run; changes how long a run takes, never its result."""

    runner: str  #: a Beam runner
    workers: int  #: threads in each Beam worker
    beam_options: Sequence[str] = ()  #: further Beam options, such as ``--job_endpoint=...``
    cluster: Cluster | None = None  #: that does the work, where it is one of Dask

    @property
    def threads(self) -> int:
        """Threads that work on one shard, or share those of a process.

        On a Dask cluster one: its workers have as many shards at a time as they have threads.
        """
        return 1 if self.cluster else self.workers

    @property
    def sharing(self) -> int | None:
        """Threads that share the cores of a machine; None: as many as a worker's has cores."""
        return None if self.cluster else self.workers

    @property
    def local(self) -> bool:
        """Whether the workers are threads of this process, unless Beam's options say otherwise."""
        return self.runner == "FnApiRunner"

    def shards_at_once(self, shards: int, threads_a_shard: int) -> int:
        """Shards under way at a time in one process, so that all its threads have work."""
        chosen = any(option.startswith("--direct_") for option in self.beam_options)
        return min(-(-self.workers // threads_a_shard), shards) if self.local and not chosen else 1

    def arguments(self, at_once: int) -> list[str]:
        """Beam's command line, for so many shards at once."""
        spread = [_THREADS, f"--direct_num_workers={at_once}"] if at_once > 1 else []
        return [f"--runner={self.runner}", *spread, *self.beam_options]


class RunStep(beam.DoFn):
    """(index, shard) -> index, once the shard's files and its receipt are in place."""

    def __init__(
        self,
        pass_name: str,
        step: Step[Record],
        reader: Reader,
        store: Store,
        total: int,
        workers: int,
        ahead: int,
        sharing: int | None,
    ):
        self.pass_name, self.step, self.reader, self.store = pass_name, step, reader, store
        self.total, self.workers, self.ahead, self.sharing = total, workers, ahead, sharing
        self.order: Order | None = None  #: that a worker on another machine carries out

    def setup(self) -> None:
        try:
            self.step.setup(self.sharing or available_cores())
        except FreqsanError as error:
            self._tell(error)
            raise

    # Beam reads this annotation, so it is of plain types.
    def process(self, element: tuple[int, Any]) -> Iterator[int]:
        index, numbers = element
        # An engine may ask once more for what a worker did that has died since.
        if self.order is not None and Output.has_receipt(self.store, self.pass_name, index):
            yield index
            return
        try:
            with ShardTask(
                self.pass_name,
                index,
                self.total,
                self.reader,
                Shard(*numbers),
                self.store,
                self.workers,
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
                self._tell(
                    RunError(
                        f"{error.strerror or error} ({error.filename2 or error.filename}); {GO_ON}"
                    ),
                )
            raise
        yield index

    def _tell(self, error: FreqsanError) -> None:
        """Leave words for the driver, if it is still there."""
        if self.order is None or self.order.stands():
            write_failure(self.store, error)


def run_pass(
    this: Pass[Any, Any, Any],
    given: Any,
    source: Source,
    output: Output,
    machines: Machines,
    progress: Progress,
) -> Finished[Any]:
    """Do a pass over the shards that have no receipt of it yet.

    Args:
        this: the pass.
        given: what the pass before has made.
        source: the input; its reader is sent to the workers, so it should be small.
        output: where its files and receipts go.
        machines: where and how wide to run.
        progress: not yet started.

    Raises:
        InputError: a shard turned out to be unreadable.
        RunError: no space left, or a worker failed in an expected way.
    """
    work = this.work(given, source, output.store)
    total = len(work.pieces)
    done, changed = output.resume(this.name)
    if changed:
        progress.say(f"{this.doing}: {described(changed)} since it was written, doing it again")
    elements: list[Element] = [
        (i, tuple(shard)) for i, shard in enumerate(work.pieces) if i not in done
    ]
    rows_done = sum(receipt.rows for receipt in done.values())
    progress.start(total=work.rows if elements else rows_done, done=rows_done)
    if elements:
        at_once = machines.shards_at_once(len(elements), this.threads_a_shard)
        do_fn = RunStep(
            this.name,
            this.step(given),
            source.reader,
            output.store,
            total,
            machines.threads,
            ahead=1 + -(-machines.threads // at_once),
            sharing=machines.sharing,
        )
        with watch(progress, output, this.name, known=set(done)):
            _run(do_fn, elements, machines, at_once)
    receipts = output.receipts(this.name)
    missing = [i for i in range(total) if i not in receipts]
    if missing:
        raise RunError(
            f"{len(missing)} of {total} shards did not finish, the first is "
            f"number {missing[0]}; run the same command again to go on"
        )
    in_order = [receipts[i] for i in range(total)]
    counts = [this.counts.from_json(receipt.counts) for receipt in in_order]
    return Finished(output.store, this.name, in_order, counts)


def _run(do_fn: RunStep, elements: list[Element], machines: Machines, at_once: int) -> None:
    try:
        with nullcontext(do_fn) if machines.local else ordered(do_fn) as sent:

            def build(pipeline: beam.Pipeline) -> beam.PCollection:
                return (
                    pipeline
                    | "Shards" >> beam.Create(elements, reshuffle=False)
                    | "Spread over the workers" >> beam.Reshuffle()
                    | "Run the step" >> beam.ParDo(sent)
                )

            if machines.cluster is not None:
                machines.cluster.run(build, len(elements), machines.beam_options)
            else:
                run_pipeline(build, machines.arguments(at_once))
    except Exception as error:
        # Runners wrap what a worker raised in errors of their own, so the worker's own
        # words come through a file.
        failure = take_failure(do_fn.store)
        if failure is not None:
            raise failure from error
        if isinstance(error, RunError):
            raise
        # In-process runners answer with the worker's traceback, whose last line it is.
        if "KeyboardInterrupt" in str(error).splitlines():
            raise KeyboardInterrupt from error
        if _is_disk_full(error):
            raise RunError(
                f"no space left on the disk of {do_fn.store.address}; {GO_ON}"
            ) from error
        if not machines.local:
            raise RunError(
                f"the workers of {machines.runner} failed: {last_words(error)}; {GO_ON}"
            ) from error
        raise


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
