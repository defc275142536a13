"""One linear Beam chain: shards in, files out. The shape that runs on every runner.

``Create(shards) | Reshuffle | ParDo(step)``: elements are a few numbers each and what comes
out are shard numbers, so no pixel crosses a stage boundary. Counts come back through the
receipts beside the files.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam

from pipelines.runs.checksums import described
from pipelines.runs.cluster import Cluster
from pipelines.runs.engine import last_words, run_pipeline
from pipelines.runs.orders import ordered, read_order
from pipelines.runs.output import Output, take_failure
from pipelines.runs.passes import Finished, Pass
from pipelines.runs.pool import Element, Pool
from pipelines.runs.progress import Progress, watch
from pipelines.runs.work import Order, PassWork
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


class DoShard(beam.DoFn):
    """(index, shard) -> index, once the shard's files and its receipt are in place."""

    def __init__(self, work: PassWork):
        self.work = work

    def setup(self) -> None:
        self.work.set_up()

    # Beam reads this annotation, so it is of plain types.
    def process(self, element: tuple[int, Any]) -> Iterator[int]:
        index, numbers = element
        self.work.do(index, numbers)
        yield index


class CarryOut(beam.DoFn):
    """As :class:`DoShard`, by a worker that finds in a file what it is to do."""

    def __init__(self, order: Order, sha256: str):
        self.order, self.sha256 = order, sha256

    def setup(self) -> None:
        read_order(self.order, self.sha256).set_up()

    # Beam reads this annotation, so it is of plain types.
    def process(self, element: tuple[int, Any]) -> Iterator[int]:
        index, numbers = element
        read_order(self.order, self.sha256).do(index, numbers)
        yield index


class DoShardsInPool(beam.DoFn):
    """Shards -> their number, once the files and receipts of all are in place."""

    def __init__(self, work: PassWork, pool: Pool):
        self.work, self.pool = work, pool

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
    sizes = dict(enumerate(todo.sizes)) if todo.rows is None else {}
    progress.start(
        total=todo.rows if elements else rows_done,
        done=rows_done,
        size=sum(sizes.values()),
        size_done=sum(sizes.get(i, 0) for i in done),
    )
    if elements:
        at_once = machines.shards_at_once(len(elements), this.threads_a_shard)
        with (
            nullcontext(this.step(given)) if pool is None else this.sent(given) as step,
            watch(progress, output, this.name, set(done), sizes),
        ):
            work = PassWork(
                this.name,
                step,
                source.reader,
                output.store,
                total,
                sharing=machines.sharing,
                threads=machines.threads if pool is None else 1,
                ahead=1 + -(-machines.threads // at_once),
            )
            if pool is not None:
                # The largest first: whatever is last, the others have nothing to do meanwhile.
                elements.sort(key=lambda element: -Shard(*element[1]).size)
            _run(work, elements, machines, at_once, pool, progress.say)
    receipts = output.receipts(this.name)
    missing = [i for i in range(total) if i not in receipts]
    if missing:
        raise RunError(
            f"{len(missing)} of {total} shards did not finish, the first is "
            f"number {missing[0]}; run the same command again to go on"
        )
    in_order, counts = [], []
    for i in range(total):
        counts.append(this.counts.from_json(receipts[i].counts))
        # Of a set with very many labels the counts are large, and kept once.
        in_order.append(replace(receipts.pop(i), counts={}))
    return Finished(output.store, this.name, in_order, counts)


def _run(
    work: PassWork,
    elements: list[Element],
    machines: Machines,
    at_once: int,
    pool: Pool | None,
    say: Callable[[str], None],
) -> None:
    """Have the shards done, by whatever does them; what a worker raised is raised here."""
    store = work.store
    try:
        if pool is not None:
            pool.say = say
            run_pipeline(
                _chain([elements], DoShardsInPool(work, pool)), machines.arguments(1), pool.stop
            )
        elif machines.local:
            run_pipeline(_chain(elements, DoShard(work)), machines.arguments(at_once))
        else:
            with ordered(work) as order:
                chain = _chain(elements, CarryOut(*order))
                if machines.cluster is None:
                    run_pipeline(chain, machines.arguments(at_once))
                else:
                    machines.cluster.run(chain, len(elements), machines.beam_options, say)
    except Exception as error:
        # Runners wrap what a worker raised in errors of their own, so the worker's own
        # words come through a file.
        failure = take_failure(store)
        if failure is not None:
            raise failure from error
        if isinstance(error, RunError):
            raise
        if _is_interrupt(error):
            raise KeyboardInterrupt from error
        if _is_disk_full(error):
            raise RunError(f"no space left on the disk of {store.address}; {GO_ON}") from error
        if not machines.local:
            raise RunError(
                f"the workers of {machines.runner} failed: {last_words(error)}; {GO_ON}"
            ) from error
        raise


def _chain(elements: list[Any], do: beam.DoFn) -> Callable[[beam.Pipeline], object]:
    def build(pipeline: beam.Pipeline) -> beam.PCollection:
        return (
            pipeline
            | "Shards" >> beam.Create(elements, reshuffle=False)
            | "Spread over the workers" >> beam.Reshuffle()
            | "Do the shards" >> beam.ParDo(do)
        )

    return build


def _is_interrupt(error: Exception) -> bool:
    """Whether a Ctrl-C is behind it.

    In-process runners answer with the worker's traceback, or with a last line that says where.
    """
    lines = (line.removeprefix("RuntimeError: ") for line in str(error).splitlines())
    return any(line.partition(" [while running")[0] == "KeyboardInterrupt" for line in lines)


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
