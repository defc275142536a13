"""``ingest``: any source to canonical Parquet shards, every byte as it came."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from pipelines.runs import layout
from pipelines.runs.cards import write_card
from pipelines.runs.job import Job, NoOptions, Settings
from pipelines.runs.manifest import Manifest
from pipelines.runs.output import Output
from pipelines.runs.passes import Finished, Pass, Step
from pipelines.runs.public import public
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.sources.base import Source
from sanitizer.record import Record


@dataclass(frozen=True)
class IngestCounts(Record):
    """Samples of a run of ``ingest``."""

    read: int


@dataclass(frozen=True)
class CopyTally(Record):
    """What is to be told of copied rows; adds up without regard to order."""

    #: images that could not be read, or do not match their hash, by the kind of the reason
    unread: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class IngestManifest(Manifest):
    """The manifest of ``ingest``."""

    counts: IngestCounts
    #: samples whose image is null, as it could not be read, or does not match its hash
    unread_by_reason: dict[str, int]


@dataclass
class CopyStep(Step[CopyTally]):
    """Copy a shard's rows to ``data/train-…``."""

    schema: pa.Schema

    def run(self, task: ShardTask) -> tuple[int, CopyTally]:
        writer = task.open(layout.TRAIN, self.schema)
        unread = Counter[str]()
        for samples in task.samples():
            writer.write(samples.batch)
            unread.update(error.kind for error in samples.unread.values())
        task.finish()
        return writer.rows, CopyTally(dict(unread))


@dataclass(frozen=True)
class Copied:
    """All rows of a run of ``ingest``."""

    rows: int
    unread: dict[str, int]  #: as in :class:`CopyTally`


@dataclass
class CopyPass(Pass[None, CopyTally, Copied]):
    """Copy all rows."""

    name: ClassVar[str] = "copy"
    counts: ClassVar[type[Record]] = CopyTally

    source: Source
    doing: str = "reading"

    def step(self, given: None) -> Step[CopyTally]:
        return CopyStep(self.source.schema)

    def merge(self, given: None, finished: Finished[CopyTally]) -> Copied:
        unread = Counter[str]()
        for tally in finished.counts:
            unread.update(tally.unread)
        return Copied(finished.rows, dict(sorted(unread.items())))


@public
def ingest(input: str | Path, output: str | Path, **settings: Any) -> IngestManifest:
    """Copy an image set to Parquet shards that ``load_dataset`` and ``clean`` read.

    Args:
        input: folder of images, Parquet, WebDataset tars, saved dataset or Hub id.
        output: a new or empty directory, or one that holds an unfinished run of the same.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        The manifest, as written to ``output/manifest.json``.

    Raises:
        InputError: bad usage or input.
        RunError: the run failed.
    """
    chosen = Settings(**settings)
    source = chosen.open(input)

    def finish(written: Output, common: Manifest, made: Copied) -> IngestManifest:
        write_card(
            written,
            common.shards,
            {"train": layout.TRAIN} if made.rows else {},
            "Image set read by freqsan",
            f"{made.rows:,} images from {source.kind}, with a stable `sample_id` each.",
            source,
        )
        return IngestManifest.of(
            common, counts=IngestCounts(made.rows), unread_by_reason=made.unread
        )

    return Job(
        name="ingest",
        source=source,
        store=Store.at(output),
        passes=[CopyPass(source)],
        options=NoOptions(),
        finish=finish,
        manifest=IngestManifest,
        needed_bytes=source.nbytes,
    ).run(chosen)
