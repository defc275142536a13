"""A finished run of ``clean``, shard by shard, as an export reads it.

Images come from the splits and verdicts from the score rows, whoever gave them; where the two do
not agree, nothing is exported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.runs import layout
from pipelines.runs.earlier import Finished
from pipelines.runs.layout import ShardedFile
from pipelines.runs.manifest import InputFacts
from pipelines.runs.output import not_what_was_written
from pipelines.runs.reopening import reopened
from pipelines.runs.store import Store
from pipelines.sources.columns import encoded_images
from sanitizer.errors import InputError, RunError, quoted
from sanitizer.records import CLEAN, POISONED, REJECTED
from sanitizer.summary import Summary

#: Where the images of each verdict are.
FILES: dict[str, ShardedFile] = {
    CLEAN: layout.CLEAN,
    POISONED: layout.POISONED,
    REJECTED: layout.REJECTED,
}

#: Rows with their images that are in memory at a time; a row group holds some 16 MB of them.
IMAGE_ROWS = 256


class Judged(NamedTuple):
    """What the score rows say of a sample."""

    label: Any  #: of the input's own type; None where it has none
    format: str | None  #: "PNG", "JPEG", ...; None where nothing could be decoded
    sha256: str | None  #: of the encoded image; None where there was none
    source: str  #: file, tar or folder that it came from, relative to INPUT
    reason: str  #: in words, what decided


class Image(NamedTuple):
    """An image of a split."""

    sample_id: str
    path: str | None  #: its name, as far as the input told one
    data: bytes | None  #: None of a reject that had no bytes, and where they were not asked for


@contextmanager
def opened(store: Store) -> Iterator["CleanRun"]:
    """A finished run of ``clean``, checked against its checksums, and locked meanwhile.

    Raises:
        InputError: there is none, or another command is at work there.
        RunError: it is no longer what was written, or cannot be read.
    """
    with reopened(store) as finished:
        yield CleanRun.of(store, finished)


@dataclass(frozen=True)
class CleanRun:
    """A finished run of ``clean``."""

    store: Store  #: OUTPUT
    finished: Finished
    summary: Summary

    @classmethod
    def of(cls, store: Store, finished: Finished) -> Self:
        """Read what is told of a run.

        Raises:
            InputError: another version wrote it.
            RunError: it is no longer what was written.
        """
        if changed := finished.changes(store):
            raise RunError(not_what_was_written(store, changed))
        try:
            summary = Summary.from_json(store.read_json(layout.SUMMARY))
        except ValueError as error:
            raise InputError(
                f"{store.address} was written by another version ({error}); clean again with "
                "--overwrite"
            ) from error
        return cls(store, finished, summary)

    @property
    def sha256(self) -> str:
        """Of the manifest, which holds the checksums of all else."""
        return str(self.finished.json["sha256"])

    @property
    def input(self) -> InputFacts:
        """What was cleaned."""
        return self.finished.manifest.input

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self.finished.manifest.shards)

    def samples(self, split: str | None) -> int:
        """Samples of a split, or all."""
        counts = self.summary.counts
        return counts.read if split is None else int(getattr(counts, split))

    def nbytes(self, split: str) -> int:
        """Of the files of a split; the images are hardly more, as they compress no further."""
        prefix = FILES[split].prefix
        results = self.finished.results.items()
        return sum(file.bytes for name, file in results if name.startswith(f"{prefix}-"))

    @cached_property
    def names(self) -> dict[str, str]:
        """What a class is called, by the ``label_key`` of its label."""
        return {one.label: one.name for one in self.summary.per_class}

    def scores(self, shard: int, columns: list[str] | None = None) -> pa.Table:
        """The score rows of a shard."""
        with self.store.open(layout.SCORES.name(shard, self.shards)) as file:
            return pq.read_table(file, columns=columns)

    def judged(self, shard: int, split: str) -> dict[str, Judged]:
        """What the score rows say of the samples of a split, by ``sample_id``, in their order."""
        columns = ["sample_id", "label", "format", "content_sha256", "source", "reason", "verdict"]
        rows = self.scores(shard, columns)
        own = rows.filter(pc.equal(rows["verdict"], split))
        told = [own[name].to_pylist() for name in columns[1:-1]]
        return dict(zip(own["sample_id"].to_pylist(), map(Judged, *told), strict=True))

    def images(self, shard: int, split: str, *, data: bool = True) -> Iterator[Image]:
        """The images of a split, in the order of the rows.

        Args:
            shard: its number.
            split: of :data:`FILES`.
            data: whether the bytes are read; without them those of a reject that had any are
                empty.
        """
        if split == REJECTED:
            for batch in self._batches(shard, split, ["sample_id", "bytes"]):
                for sample_id, encoded in zip(*map(pa.Array.to_pylist, batch.columns), strict=True):
                    yield Image(sample_id, None, encoded if data or encoded is None else b"")
            return
        column = self.summary.source.image_column
        columns = ["sample_id", column] if data else ["sample_id", f"{column}.path"]
        for batch in self._batches(shard, split, columns):
            ids = batch.column("sample_id").to_pylist()
            encoded = encoded_images(batch, column) if data else [None] * len(ids)
            yield from map(Image, ids, image_paths(batch, column), encoded)

    def rows(self, shard: int, split: str) -> Iterator[pa.RecordBatch]:
        """All columns of a split."""
        yield from self._batches(shard, split, None)

    def _batches(
        self, shard: int, split: str, columns: list[str] | None
    ) -> Iterator[pa.RecordBatch]:
        with (
            self.store.open(FILES[split].name(shard, self.shards)) as handle,
            pq.ParquetFile(handle) as file,
        ):
            for group in range(file.num_row_groups):
                yield from file.iter_batches(IMAGE_ROWS, [group], columns, use_threads=False)

    def said_of(self, sample_id: str, judged: dict[str, Judged]) -> Judged:
        """What the score rows of a shard say of a sample that is in a split.

        Raises:
            RunError: they do not put it there.
        """
        if (said := judged.get(sample_id)) is None:
            raise RunError(
                f"{self.store.address}: the score rows do not put {quoted(sample_id)} where it is; "
                "clean again with --overwrite"
            )
        return said


def image_paths(batch: pa.RecordBatch, column: str) -> list[str | None]:
    """The file name of each image, None where the input tells none."""
    nothing: list[str | None] = [None] * batch.num_rows
    if column not in batch.schema.names:
        return nothing
    images = batch.column(column)
    if not pa.types.is_struct(images.type) or images.type.get_field_index("path") < 0:
        return nothing
    paths = pc.struct_field(images, "path")
    return list(paths.to_pylist()) if pa.types.is_string(paths.type) else nothing
