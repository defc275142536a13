"""One linear Beam chain: shards in, files out. The shape that runs on every runner.

``Create(shards) | Reshuffle | ParDo(step)``: elements are a few numbers each and what comes
out are shard numbers, so no pixel crosses a stage boundary. Counts come back through the
receipts beside the files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from pipelines.runs.checksums import described
from pipelines.runs.engine import last_words, run_pipeline
from pipelines.runs.output import Output, take_failure
from pipelines.runs.passes import Finished, Pass
from pipelines.runs.pool import Element, Pool
from pipelines.runs.progress import Progress, watch
from pipelines.runs.work import PassWork
from pipelines.sources.base import Shard, Source
from sanitizer.errors import GO_ON, RunError
from sanitizer.files import DISK_FULL

#: What Beam's in-process runner calls running several bundles at once in threads.
_THREADS = "--direct_running_mode=multi_threading"


@dataclass(frozen=True)
class Machines:
    """Where and how wide to run; changes how long a run takes, never its result."""

    runner: str  #: a Beam runner
    workers: int  #: threads in each Beam worker
    beam_options: Sequence[str] = ()  #: further Beam options, such as ``--job_endpoint=...``

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


class DoShard(beam.DoFn):
    """(index, shard) -> index, once the shard's files and its receipt are in place."""

    def __init__(self, work: PassWork):
        self.work = work

    def setup(self) -> None:
        self.work.set_up()

    def stop(self) -> None:
        """Nothing can be done: the engine waits for its threads, but not for ever."""

    # Beam reads this annotation, so it is of plain types.
    def process(self, element: tuple[int, Any]) -> Iterator[int]:
        index, numbers = element
        self.work.do(index, numbers)
        yield index


class DoShardsInPool(beam.DoFn):
    """Shards -> their number, once the files and receipts of all are in place."""

    def __init__(self, work: PassWork, pool: Pool):
        self.work, self.pool = work, pool

    def stop(self) -> None:
        """End what is under way."""
        self.pool.stop()

    def process(self, elements: list[Any]) -> Iterator[int]:
        self.pool.do(self.work, elements)
        yield len(elements)


def run_pass(
    this: Pass[Any, Any, Any],
    given: Any,
    source: Source,
    output: Output,
    machines: Machines,
    progress: Progress,
    pool: Pool | None = None,
) -> Finished[Any]:
    """Do a pass over the shards that have no receipt of it yet.

    Args:
        this: the pass.
        given: what the pass before has made.
        source: the input; its reader is sent to the workers, so it should be small.
        output: where its files and receipts go.
        machines: where and how wide to run.
        progress: not yet started.
        pool: processes of this machine that do the shards; None: threads of the engine do.

    Raises:
        InputError: a shard turned out to be unreadable.
        RunError: no space left, or a worker failed in an expected way.
    """
    todo = this.work(given, source, output.store)
    total = len(todo.pieces)
    done, changed = output.resume(this.name)
    if changed:
        progress.say(f"{this.doing}: {described(changed)} since it was written, doing it again")
    elements: list[Element] = [
        (i, tuple(shard)) for i, shard in enumerate(todo.pieces) if i not in done
    ]
    rows_done = sum(receipt.rows for receipt in done.values())
    progress.start(total=todo.rows if elements else rows_done, done=rows_done)
    if elements:
        pool = pool if this.in_processes else None
        at_once = machines.shards_at_once(len(elements), this.threads_a_shard)
        work = PassWork(
            this.name,
            this.step(given),
            source.reader,
            output.store,
            total,
            workers=machines.workers,
            threads=machines.workers if pool is None else 1,
            ahead=1 + -(-machines.workers // at_once),
        )
        with watch(progress, output, this.name, known=set(done)):
            if pool is None:
                _run(DoShard(work), elements, machines, at_once)
            else:
                pool.say = progress.say
                # The largest first: whatever is last, the others have nothing to do meanwhile.
                elements.sort(key=lambda element: -Shard(*element[1]).size)
                _run(DoShardsInPool(work, pool), [elements], machines, 1)
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


def _run(
    do: DoShard | DoShardsInPool, elements: list[Any], machines: Machines, at_once: int
) -> None:
    def build(pipeline: beam.Pipeline) -> beam.PCollection:
        return (
            pipeline
            | "Shards" >> beam.Create(elements, reshuffle=False)
            | "Spread over the workers" >> beam.Reshuffle()
            | "Do the shards" >> beam.ParDo(do)
        )

    store = do.work.store
    try:
        run_pipeline(build, machines.arguments(at_once), do.stop)
    except Exception as error:
        # Runners wrap what a worker raised in errors of their own, so the worker's own
        # words come through a file.
        failure = take_failure(store)
        if failure is not None:
            raise failure from error
        if isinstance(error, RunError):
            raise
        # In-process runners answer with the worker's traceback, whose last line it is.
        if "KeyboardInterrupt" in str(error).splitlines():
            raise KeyboardInterrupt from error
        if _is_disk_full(error):
            raise RunError(f"no space left on the disk of {store.address}; {GO_ON}") from error
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
