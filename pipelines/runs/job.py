"""What all sharded jobs share: from a source to an output with a manifest."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipelines.runs import layout
from pipelines.runs.cluster import DASK, PATIENCE_SECONDS, Cluster
from pipelines.runs.guards import check_places
from pipelines.runs.manifest import Manifest, Plan, ShardFacts, common_manifest
from pipelines.runs.output import Output
from pipelines.runs.passes import Pass
from pipelines.runs.pool import Pool
from pipelines.runs.progress import Progress, counting
from pipelines.runs.store import Store, is_of_this_process
from pipelines.sources import open_source
from pipelines.sources.base import SHARD_ROWS, Source
from pipelines.sources.hashes import verified
from sanitizer.cores import available_cores
from sanitizer.errors import GO_ON, InputError, RunError
from sanitizer.garbage import loading
from sanitizer.record import Record

#: What is said of an OUTPUT where the same run has ended before.
NOTHING_TO_DO = (
    "already holds this very run, finished, and its files are as they were written: nothing to do "
    "(--overwrite does it again)"
)

#: From so many shards on, processes are worth the half second that each takes to start.
FEWEST_SHARDS = 4

#: Named in full: Beam's DirectRunner first tries to download another runner.
DEFAULT_RUNNER = "FnApiRunner"

AnyManifest = TypeVar("AnyManifest", bound=Manifest)


@dataclass(frozen=True)
class Settings:
    """What every sharded job can be told beside its own arguments.

    The first six say how to read the input. The others change how long a job takes, never
    its result.
    """

    split: str | None = None  #: which split, where the input has several
    image_column: str | None = None  #: found by itself where None
    label_column: str | None = None  #: found by itself where None
    follow_links: bool = False  #: also links that lead out of the input
    verify_hashes: bool = False  #: compare images with the ``sha256`` that the input gives
    shard_rows: int = SHARD_ROWS  #: about so many samples in one shard
    runner: str = DEFAULT_RUNNER  #: a Beam runner, or ``"dask"``
    dask_scheduler: str | None = None  #: of ``"dask"``, its address, such as ``tcp://host:8786``
    #: of ``"dask"``, seconds that a run waits for a worker where there is none
    dask_patience: float = PATIENCE_SECONDS
    #: processes on this machine, or threads where there are few shards; elsewhere threads in each
    #: Beam worker
    workers: int = field(default_factory=available_cores)
    beam_options: Sequence[str] = ()  #: further Beam options, such as ``--job_endpoint=...``
    overwrite: bool = False  #: replace an earlier run in OUTPUT
    quiet: bool = False  #: no progress

    def __post_init__(self) -> None:
        for name in ("workers", "shard_rows"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name.replace('_', ' ')}: expected at least 1, got {getattr(self, name)}"
                )

        if self.dask_patience <= 0:
            raise InputError(f"dask patience: expected seconds above 0, got {self.dask_patience:g}")
        cluster = self.cluster
        if cluster is not None:
            cluster.check()
        if self.runner != DEFAULT_RUNNER or self.beam_options:
            # A second to load: what Beam would refuse after all else is refused here.
            from pipelines.runs.engine import check_engine

            if cluster is None:
                check_engine(self.runner, self.beam_options)
            else:
                check_engine(cluster.runner, [*self.beam_options, *cluster.arguments(1)])

    @property
    def cluster(self) -> Cluster | None:
        """The Dask cluster that does the work; None where it is done elsewhere.

        Raises:
            InputError: there is none without an address, and no other runner has one.
        """
        if self.runner == Cluster.runner:
            raise InputError(f"--runner {self.runner}: give --runner {DASK} --dask-scheduler")
        if (self.runner == DASK) != (self.dask_scheduler is not None):
            raise InputError(
                f"--runner {DASK} needs --dask-scheduler tcp://HOST:8786"
                if self.runner == DASK
                else f"--dask-scheduler has no effect with --runner {self.runner}; give "
                f"--runner {DASK}"
            )
        if self.dask_scheduler is None:
            return None
        return Cluster(self.dask_scheduler, self.dask_patience)

    def open(self, location: str | Path, option: str | None = None) -> Source:
        """Resolve ``location``.

        Args:
            location: any kind of input.
            option: as for :func:`pipelines.sources.open_source`.

        Raises:
            InputError: it is unreadable, empty or not an image set; or has no hashes to verify.
        """
        with counting(f"listing {location}", unit="files", quiet=self.quiet) as found:
            source = open_source(
                location,
                split=self.split,
                image_column=self.image_column,
                label_column=self.label_column,
                shard_rows=self.shard_rows,
                option=option,
                follow_links=self.follow_links,
                found=found,
            )
        return verified(source) if self.verify_hashes and option is None else source


@dataclass(frozen=True)
class NoOptions(Record):
    """The options of a job of which nothing that a user chooses changes the result."""


#: The end of a job, in the driver: writes what belongs to the whole set, such as a card or a
#: report, and returns the manifest. It is given the output, what the manifests of all jobs
#: say, and what the last pass has made.
Finish = Callable[[Output, Manifest, Any], AnyManifest]


@dataclass(frozen=True)
class Job(Generic[AnyManifest]):
    """A short list of passes over a source, and what is written when they are done."""

    name: str  #: the command's
    source: Source
    store: Store  #: OUTPUT
    passes: Sequence[Pass[Any, Any, Any]]  #: each is given what the one before has made
    options: Record  #: what the user chose that changes the result
    finish: Finish[AnyManifest]
    manifest: type[AnyManifest]
    needed_bytes: int = 0  #: free space without which starting makes no sense

    def run(self, settings: Settings) -> AnyManifest:
        """Do all passes and commit.

        Returns:
            The manifest. An output that already holds this very run is left as it is.

        Raises:
            InputError: the output holds something else, or the input turned out unreadable.
            RunError: the run failed.
        """
        check_places(self.source, self.store)
        plan = Plan.of(self.name, self.source, settings.shard_rows, self.options)
        output = Output(self.store, plan)
        say = Progress(self.passes[0].doing, quiet=settings.quiet).say
        try:
            if not output.open(
                overwrite=settings.overwrite, needed_bytes=self.needed_bytes, say=say
            ):
                say(f"{self.store.address} {NOTHING_TO_DO}")
                return self.manifest.from_json(self.store.read_json(layout.MANIFEST))
            made, shards = self._do_passes(output, settings)
            manifest = self.finish(output, common_manifest(plan, self.source, shards), made)
            return output.commit(manifest)
        except OSError as error:
            raise RunError(
                f"{error.strerror or error} ({error.filename or self.store.address}); {GO_ON}"
            ) from error
        finally:
            output.close()

    def _do_passes(self, output: Output, settings: Settings) -> tuple[Any, list[ShardFacts]]:
        """What the last pass has made, and the files of each shard that stay."""
        with self._processes(settings) as pool:
            # A second to load, after all that can be refused without it.
            with loading():
                from pipelines.runs.chain import Machines, run_pass

            machines = Machines(
                settings.runner, settings.workers, settings.beam_options, settings.cluster
            )
            # Once for all passes: of a large folder it is a hundred megabytes.
            source = replace(self.source, reader=output.with_stored_units(self.source.reader))
            shards = [ShardFacts(i, {}) for i in range(len(source.shards))]
            made: Any = None
            for each in self.passes:
                progress = Progress(each.doing, quiet=settings.quiet)
                finished = run_pass(each, made, source, output, machines, progress, pool)
                # Of tars nobody knows the number before they are read; then all passes do.
                if source.rows is None and len(finished.receipts) == len(source.shards):
                    source = replace(source, rows=finished.rows)
                made = each.merge(made, finished)
                for receipt in finished.receipts:
                    kept = {n: f for n, f in receipt.files.items() if not n.startswith(layout.WORK)}
                    if kept:  # else its pieces need not be shards
                        shards[receipt.index].files.update(kept)
            return made, shards

    def _processes(self, settings: Settings) -> AbstractContextManager[Pool | None]:
        """Processes for the shards, where they are worth their start; else threads do them."""
        shards = len(self.source.shards)
        here = settings.runner == DEFAULT_RUNNER and not settings.beam_options
        seen = not any(is_of_this_process(at) for at in (self.source.location, self.store.address))
        if here and seen and settings.workers > 1 and shards >= FEWEST_SHARDS and sys.executable:
            return Pool(min(settings.workers, shards))
        return nullcontext()
