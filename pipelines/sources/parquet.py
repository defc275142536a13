"""Parquet files: one, a folder of them, or a glob, here or behind an fsspec URL."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources import columns, files
from pipelines.sources.base import BATCH_ROWS, Source
from pipelines.sources.files import Listing
from sanitizer.errors import InputError

#: A row group is cut into at most so many shards: a shard reads and discards the rows
#: before its own.
MAX_CUTS = 16

#: Rows read at once where only labels are.
LABEL_ROWS = 8192

#: First bytes of the images that make a plain binary column an image column.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def is_parquet(name: str) -> bool:
    """Whether a file is Parquet, by its extension."""
    return files.suffix(name) == ".parquet"


@dataclass(frozen=True)
class ParquetShard:
    """Some consecutive rows of one Parquet file: whole row groups, or a part of one."""

    root: str  #: absolute folder or URL
    name: str  #: of the file, relative to ``root``
    stamp: files.Stamp  #: of the file, when it was resolved
    row_groups: tuple[int, ...]  #: in order
    skip: int  #: rows of the row groups before the shard's own
    rows: int  #: of the shard
    first_row: int  #: index of its first row in the whole file
    label: str | None  #: the label column
    schema: pa.Schema = field(repr=False)  #: of the batches

    @property
    def source(self) -> str:
        return files.text(self.name)

    def read(self, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Batches of at most ``batch_rows`` rows and about ``BATCH_BYTES``.

        Raises:
            InputError: the file is gone, has changed or is corrupt.
        """
        for batch, first_row in self._batches(batch_rows):
            yield columns.with_ids(batch, self.schema, self.label, self.source, first_row)

    def labels(self) -> Iterator[pa.Array]:
        """The label column alone, in order, without reading the images.

        Raises:
            InputError: as :meth:`read`.
        """
        for batch, _ in self._batches(LABEL_ROWS, [str(self.label)]):
            yield batch.column(0)

    def _batches(
        self, batch_rows: int, only: list[str] | None = None
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        """The shard's rows as they are in the file, and the index of each batch's first row."""
        try:
            with files.open_file(self.root, self.name, self.stamp) as file:
                yield from self._cut(_open(file), batch_rows, only)
        except (OSError, pa.ArrowException) as error:
            raise files.unreadable(self.name, "Parquet", error) from error

    def _cut(
        self, parquet: pq.ParquetFile, batch_rows: int, only: list[str] | None
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        position, stop = -self.skip, self.rows
        read_rows = min(batch_rows, _affordable_rows(parquet.metadata, self.row_groups))
        for batch in parquet.iter_batches(
            read_rows, self.row_groups, columns=only, use_threads=False
        ):
            start = max(position, 0)
            own = batch.slice(start - position, min(stop - start, batch.num_rows))
            position += batch.num_rows
            if position > 0:
                yield own, self.first_row + start
            if position >= stop:
                return
        raise InputError(f"{self.source}: ends before the rows that it says it holds")


def resolve(
    listing: Listing,
    *,
    split: str | None,
    image_column: str | None,
    label_column: str | None,
    shard_rows: int,
) -> Source:
    """Parquet files as a source.

    Args:
        listing: the files; others than Parquet are left out, with a note.
        split: the one to read; None where there is only one.
        image_column: None to take the image column of the features, else a struct with a
            ``bytes`` field, else bytes that start like an image.
        label_column: None to look for class labels, or a column with a usual name.
        shard_rows: rows of a shard, about; at least 1.

    Raises:
        InputError: a split must be chosen or does not exist; no file, no rows, files whose
            schemas differ or that are not whole; no image column, or no such column.
    """
    listing, notes = listing.only(is_parquet, "Parquet")
    names = files.names_of_split(listing, split)
    parts = [_Part(listing.root, name) for name in names]
    first = parts[0]
    for part in parts[1:]:
        _check_same_schema(first, part)
    rows = sum(part.rows for part in parts)
    if rows == 0:
        raise InputError(f"{listing.location}: holds no rows")
    schema, image, label = columns.roles(
        listing.location,
        first.schema,
        image_column,
        label_column,
        lambda names: [name for name in names if _starts_like_image(parts, name)],
    )
    return Source(
        location=listing.location,
        kind="parquet",
        schema=schema,
        image_column=image,
        label_column=label,
        class_names=columns.class_names(schema, label),
        shards=tuple(shard for part in parts for shard in part.shards(label, schema, shard_rows)),
        rows=rows,
        root=listing.local,
        nbytes=files.total_size(part.stamp for part in parts),
        notes=notes,
    )


class _Part:
    """What the footer of one file says."""

    def __init__(self, root: str, name: str):
        self.root, self.name = root, name
        try:
            self.stamp = files.stamp(root, name)
            with files.open_file(root, name) as file:
                parquet = _open(file)
                self.schema = columns.plain_schema(parquet.schema_arrow)
                self.rows: int = parquet.metadata.num_rows
                self.group_rows = [
                    parquet.metadata.row_group(i).num_rows
                    for i in range(parquet.metadata.num_row_groups)
                ]
        except (OSError, pa.ArrowException) as error:
            raise files.unreadable(name, "Parquet", error) from error

    def shards(
        self, label: str | None, schema: pa.Schema, shard_rows: int
    ) -> Iterator[ParquetShard]:
        """Row groups joined up to ``shard_rows``; a larger one is cut into even parts."""
        for groups in _joined(self.group_rows, shard_rows):
            before = sum(self.group_rows[: groups[0]])
            total = sum(self.group_rows[i] for i in groups)
            cuts = min(MAX_CUTS, -(-total // shard_rows)) if len(groups) == 1 else 1
            for cut in range(cuts):
                skip, stop = total * cut // cuts, total * (cut + 1) // cuts
                yield ParquetShard(
                    self.root,
                    self.name,
                    self.stamp,
                    groups,
                    skip,
                    stop - skip,
                    before + skip,
                    label,
                    schema,
                )


def _joined(group_rows: list[int], shard_rows: int) -> Iterator[tuple[int, ...]]:
    """Runs of consecutive row groups with at most ``shard_rows`` rows, or a single larger one."""
    run: list[int] = []
    rows = 0
    for i, count in enumerate(group_rows):
        if run and rows + count > shard_rows:
            yield tuple(run)
            run, rows = [], 0
        if count:
            run.append(i)
            rows += count
    if run:
        yield tuple(run)


def _check_same_schema(first: _Part, other: _Part) -> None:
    if other.schema.equals(first.schema):
        known, found = columns.features(first.schema), columns.features(other.schema)
        for name in known.keys() & found.keys():
            if known[name] != found[name]:
                raise _schema_differs(first, other, f"the features of {name} are not the same")
        return
    if other.schema.names != first.schema.names:
        here, there = ", ".join(other.schema.names), ", ".join(first.schema.names)
        raise _schema_differs(first, other, f"columns {here} where the first has {there}")
    here, there = next(
        (a, b) for a, b in zip(other.schema, first.schema, strict=True) if not a.equals(b)
    )
    raise _schema_differs(
        first, other, f"a column {_said(here)} where the first has {_said(there)}"
    )


def _said(column: pa.Field) -> str:
    return f"{column.name}: {column.type}{'' if column.nullable else ' not null'}"


def _schema_differs(first: _Part, other: _Part, how: str) -> InputError:
    return InputError(
        f"{files.text(other.name)}: {how} ({files.text(first.name)}); all files must have the "
        "same columns, name those that do with a glob"
    )


def _starts_like_image(parts: list[_Part], column: str) -> bool:
    for part in parts:
        with files.open_file(part.root, part.name) as file:
            for batch in _open(file).iter_batches(16, columns=[column], use_threads=False):
                for value in batch.column(0):
                    if value.is_valid:
                        return bool(value.as_py().startswith(_MAGIC))
    return False


def _open(file: IO[bytes]) -> pq.ParquetFile:
    # Without a buffer size, or with pre-buffering, whole column chunks are held in memory; so
    # it is only a few pages, which pyarrow itself writes with up to 1,024 rows each.
    return pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)


def _affordable_rows(metadata: pq.FileMetaData, row_groups: tuple[int, ...]) -> int:
    """Rows that make about ``BATCH_BYTES``, at least one, by the averages of the row groups."""
    groups = [metadata.row_group(i) for i in row_groups]
    return min(files.affordable_rows(g.total_byte_size, g.num_rows) for g in groups)
