"""What all sharded jobs share: from a source to an output with a manifest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.runs.chain import DEFAULT_RUNNER, Step, run_chain
from pipelines.runs.guards import check_apart, check_output
from pipelines.runs.output import Output, Receipt, make_plan, read_manifest
from pipelines.runs.progress import Progress
from pipelines.runs.threads import available_cores
from pipelines.sources import open_source
from pipelines.sources.base import SHARD_ROWS, Source
from sanitizer.errors import InputError, RunError


@dataclass(frozen=True)
class Settings:
    """What every sharded job can be told beside its own arguments.

    The first four say how to read the input. The others change how long a job takes, never
    its result.
    """

    split: str | None = None  #: which split, where the input has several
    image_column: str | None = None  #: found by itself where None
    label_column: str | None = None  #: found by itself where None
    shard_rows: int = SHARD_ROWS  #: about so many samples in one shard
    runner: str = DEFAULT_RUNNER  #: a Beam runner
    workers: int = field(default_factory=available_cores)  #: threads in each Beam worker
    beam_options: Sequence[str] = ()  #: further Beam options, such as ``--job_endpoint=...``
    overwrite: bool = False  #: replace an earlier run in OUTPUT
    quiet: bool = False  #: no progress

    def __post_init__(self) -> None:
        for name in ("workers", "shard_rows"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name.replace('_', ' ')}: expected at least 1, got {getattr(self, name)}"
                )

    def open(self, location: str | Path) -> Source:
        """Resolve ``location``.

        Raises:
            InputError: it is unreadable, empty or not an image set.
        """
        return open_source(
            location,
            split=self.split,
            image_column=self.image_column,
            label_column=self.label_column,
            shard_rows=self.shard_rows,
        )


def run_job(
    job: str,
    source: Source,
    output_path: Path,
    step: Step,
    options: dict[str, Any],
    finish: Callable[[Output, list[Receipt]], dict[str, Any]],
    *,
    what: str,
    needed_bytes: int = 0,
    settings: Settings,
) -> dict[str, Any]:
    """Run ``step`` over ``source`` into ``output_path`` and commit.

    Args:
        options: settings that change the result; a run with other ones is another run.
        finish: writes what belongs to the whole set (report, card) and returns what the
            manifest says beside the plan and the files.
        what: the word that progress is shown under.
        needed_bytes: free space without which starting makes no sense.

    Returns:
        The manifest. An output that already holds this very run is left as it is.

    Raises:
        InputError: the output holds something else, or the input turned out unreadable.
        RunError: the run failed.
    """
    check_output(output_path)
    check_apart(source.root, f"INPUT {source.location}", output_path)
    output = Output(output_path, make_plan(job, source, options))
    try:
        if not output.open(overwrite=settings.overwrite, needed_bytes=needed_bytes):
            Progress(what, quiet=settings.quiet).say(
                f"{output_path} already holds this very run, finished: nothing to do"
            )
            return read_manifest(output_path) or {}
        receipts = run_chain(
            step,
            source,
            output,
            runner=settings.runner,
            beam_options=settings.beam_options,
            progress=Progress(what, quiet=settings.quiet),
        )
        manifest = {
            "freqsan": output.plan["versions"]["freqsan"],
            "job": job,
            "input": {
                "location": source.location,
                "kind": source.kind,
                "notes": list(source.notes),
            },
            **finish(output, receipts),
            "shards": [{"index": r.index, "files": r.files} for r in receipts],
            "options": options,
            "versions": output.plan["versions"],
            "plan": output.plan,
        }
        output.commit(manifest)
    except OSError as error:
        raise RunError(
            f"{error.strerror or error} ({error.filename or output_path}); finished shards are "
            "kept: mend that and run the same command again to go on"
        ) from error
    finally:
        output.close()
    return manifest
