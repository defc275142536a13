"""One linear Beam chain: shards in, files out. The shape that runs on every runner.

``Create(shards) | Reshuffle | ParDo(step)``: elements are shard descriptors and what comes
out are shard numbers, so no pixel crosses a stage boundary. Counts come back through the
receipts beside the files.
"""

import errno
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.runs.output import Output, Receipt, take_failure, write_failure, write_receipt
from pipelines.runs.progress import Progress, watch
from pipelines.runs.shards import ShardFiles
from pipelines.runs.threads import give_memory_back
from pipelines.sources.base import Shard, Source
from sanitizer.errors import FreqsanError, InputError, RunError

#: Named in full: Beam's DirectRunner first tries to download another runner.
DEFAULT_RUNNER = "FnApiRunner"


class Step(Protocol):
    """What a job does with one shard. Picklable; plain functions do the work."""

    def setup(self) -> None:
        """Load what is too big to travel, once a worker."""

    def run(self, shard: Shard, files: ShardFiles) -> dict[str, Any]:
        """Read the shard, write and finish its files; returns a JSON-able summary.

        The summary's ``rows`` is the number of rows read.
        """


class RunStep(beam.DoFn):
    """(index, shard) -> index, once the shard's files and its receipt are in place."""

    def __init__(self, step: Step, output: str, total: int):
        self.step = step
        self.output = output
        self.total = total

    def setup(self) -> None:
        self.step.setup()

    # Beam reads these annotations, and its type checker fails on a Protocol.
    def process(self, element: tuple[int, Any]) -> Iterator[int]:
        index, shard = element
        output = Path(self.output)
        try:
            with ShardFiles(output, index, self.total) as files:
                summary = self.step.run(shard, files)
                write_receipt(output, Receipt(index, summary, files.publish()))
            give_memory_back()
        except FreqsanError as error:
            write_failure(output, error)
            raise
        yield index


def run_chain(
    step: Step,
    source: Source,
    output: Output,
    *,
    runner: str = DEFAULT_RUNNER,
    beam_options: Sequence[str] = (),
    progress: Progress,
) -> list[Receipt]:
    """Run ``step`` over the shards that have no receipt yet.

    Returns:
        The receipts of all shards of ``source``, in order.

    Raises:
        InputError: a shard turned out to be unreadable.
        RunError: no space left, or a worker failed in an expected way.
    """
    done = output.receipts()
    todo = [(i, shard) for i, shard in enumerate(source.shards) if i not in done]
    progress.start(
        total=source.rows, done=sum(r.summary["rows"] for r in done.values()), shards=len(todo)
    )
    if todo:
        with watch(progress, output, known=set(done)):
            _run(
                RunStep(step, str(output.path), len(source.shards)),
                todo,
                output,
                runner,
                beam_options,
            )
    receipts = output.receipts()
    missing = [i for i in range(len(source.shards)) if i not in receipts]
    if missing:
        raise RunError(
            f"{len(missing)} of {len(source.shards)} shards did not finish, the first is "
            f"number {missing[0]}; run the same command again to go on"
        )
    return [receipts[i] for i in range(len(source.shards))]


def _run(
    do_fn: RunStep,
    todo: list[tuple[int, Shard]],
    output: Output,
    runner: str,
    beam_options: Sequence[str],
) -> None:
    # What a worker raises is told once, by whoever asked for the run.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    try:
        pipeline = beam.Pipeline(options=PipelineOptions([f"--runner={runner}", *beam_options]))
    except ValueError as error:
        raise InputError(f"Beam refuses these options: {error}".partition("\n")[0]) from error
    try:
        with pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(todo, reshuffle=False)
                | "Spread over the workers" >> beam.Reshuffle()
                | "Run the step" >> beam.ParDo(do_fn)
            )
    except Exception as error:
        # Runners wrap what a worker raised in errors of their own, so the worker's own
        # words come through a file.
        failure = take_failure(output.path)
        if failure is not None:
            raise failure from error
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        if _is_disk_full(error):
            raise RunError(
                f"no space left on the disk of {output.path}; finished shards are kept: "
                "free some space and run the same command again to go on"
            ) from error
        raise


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
