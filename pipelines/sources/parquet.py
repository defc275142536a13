"""Parquet files: one, a folder of them, or a glob, here or behind an fsspec URL."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources import columns, files
from pipelines.sources.base import BATCH_ROWS, Reading, Samples, Shard, Source, Units, cut
from pipelines.sources.files import Listing
from pipelines.sources.repetition import rows_at_a_time
from pipelines.sources.schemas import odd_name, plain_schema
from pipelines.sources.texts import Piece, damaged
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


#: A unit is one row group with rows; ``first_row`` is the index of its first row in its file.
_UNITS = pa.schema(
    [
        *files.UNIT_FILE,
        ("row_group", pa.int32()),
        ("rows", pa.int64()),
        ("first_row", pa.int64()),
    ]
)


@dataclass(frozen=True)
class ParquetReader:
    """Reads row groups of Parquet files, or some rows of one."""

    root: str  #: absolute folder or URL
    units: Units  #: a row group each
    schema: pa.Schema = field(repr=False)  #: of the batches

    def read(self, shard: Shard, batch_rows: int = BATCH_ROWS) -> Iterator[Samples]:
        """Batches of at most ``batch_rows`` rows and about ``BATCH_BYTES``.

        Raises:
            InputError: a file is gone, has changed or is corrupt.
        """
        return columns.joined(self._pieces(shard, batch_rows), batch_rows)

    def labels(self, shard: Shard, column: str) -> Iterator[pa.Array]:
        """The column alone, without reading the images.

        Raises:
            InputError: as :meth:`read`.
        """
        for run in self._runs(shard):
            for batch, _ in run.batches(self.root, LABEL_ROWS, [column]):
                yield batch.column(column)

    def _pieces(self, shard: Shard, batch_rows: int) -> Iterator[Samples]:
        for run in self._runs(shard):
            file = files.text(run.name)
            for batch, first_row in run.batches(self.root, batch_rows):
                batch = columns.with_ids(batch, self.schema, file, first_row)
                yield Samples(batch, [file] * batch.num_rows)

    def _runs(self, shard: Shard) -> Iterator["_Run"]:
        """The shard's rows, file by file."""
        skip, left = shard.skip, shard.rows or 0
        units = self.units[shard.first : shard.last]
        for (name, stamp), group in itertools.groupby(units, files.file_of):
            row_groups = list(group)
            rows = min(left, sum(unit["rows"] for unit in row_groups) - skip)
            numbers = [unit["row_group"] for unit in row_groups]
            yield _Run(name, stamp, numbers, skip, rows, row_groups[0]["first_row"] + skip)
            skip, left = 0, left - rows


@dataclass(frozen=True)
class _Run:
    """Consecutive rows of one file."""

    name: str  #: of the file
    stamp: files.Stamp  #: when it was resolved
    row_groups: list[int]  #: that hold the rows, in order
    skip: int  #: rows of the row groups before the first
    rows: int
    first_row: int  #: index of the first row in the whole file

    def batches(
        self, root: str, batch_rows: int, only: list[str] | None = None
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        """The rows as they are in the file, and the index of each batch's first row."""
        try:
            with files.open_file(root, self.name, self.stamp) as file:
                yield from self._cut(file, batch_rows, only)
        except (OSError, pa.ArrowException) as error:
            raise files.unreadable(self.name, "Parquet", error) from error

    def _cut(
        self, file: IO[bytes], batch_rows: int, only: list[str] | None
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        parquet = _open(file)
        position, stop = -self.skip, self.rows
        leaves = None
        if only is not None:
            leaves = [leaf for name in only for leaf in _leaves_of(parquet, name)]
        for batch in _batches(file, parquet, batch_rows, self.row_groups, leaves):
            start = max(position, 0)
            own = batch.slice(start - position, min(stop - start, batch.num_rows))
            position += batch.num_rows
            if position > 0:
                yield own, self.first_row + start
            if position >= stop:
                return
        raise InputError(f"{files.text(self.name)}: ends before the rows that it says it holds")


def resolve(listing: Listing, reading: Reading) -> Source:
    """Parquet files as a source.

    Args:
        listing: the files; others than Parquet are left out, with a note.
        reading: what the user chose. Without a choice, the image column is that of the
            features, else a struct with a ``bytes`` field, else bytes that start like an
            image; the label column holds class labels, or has a usual name.

    Raises:
        InputError: a split must be chosen or does not exist; no file, no rows, files whose
            schemas differ or that are not whole; no image column, or no such column; ids or
            texts that :func:`columns.check_texts` refuses.
    """
    listing, notes = listing.only(is_parquet, "Parquet")
    names = files.names_of_split(listing, reading.split)
    footers = [_Footer(listing.root, name) for name in names]
    first = footers[0]
    for footer in footers[1:]:
        _check_same_schema(first, footer)
    rows = sum(footer.rows for footer in footers)
    if rows == 0:
        raise InputError(f"{listing.location}: holds no rows")
    schema, image, label = columns.roles(
        listing.location,
        first.schema,
        reading,
        lambda names: [name for name in names if _starts_like_image(footers, name)],
    )
    pieces = partial(_pieces_of, footers)
    columns.check_texts(first.schema, label, pieces)
    units = [unit for footer in footers for unit in footer.units()]
    return Source(
        location=listing.location,
        kind="parquet",
        reader=ParquetReader(listing.root, Units.of(units, _UNITS), schema),
        image_column=image,
        label_column=label,
        class_names=columns.class_names(first.schema, label),
        shards=tuple(cut([unit["rows"] for unit in units], reading.shard_rows, MAX_CUTS)),
        rows=rows,
        root=listing.local,
        nbytes=files.total_size(footer.stamp for footer in footers),
        notes=(*notes, *columns.notes(first.schema, schema, label, pieces)),
    )


def read_whole(name: str, file: IO[bytes], most: int) -> pa.Table | None:
    """All rows of a file, a few at a time, as a small one may hold the same value again and again.

    Returns:
        None where they take more than ``most`` bytes.

    Raises:
        InputError: the file is corrupt.
    """
    pieces: list[pa.RecordBatch] = []
    try:
        parquet = _open(file)
        schema = parquet.schema_arrow
        for batch in _batches(file, parquet, LABEL_ROWS):
            most -= batch.nbytes
            if most < 0:
                return None
            pieces.append(batch)
    except UnicodeDecodeError as error:
        raise odd_name(files.text(name), error) from error
    except (OSError, pa.ArrowException) as error:
        raise files.unreadable(name, "Parquet", error) from error
    return pa.Table.from_batches(pieces, schema)


def holds_nothing(listing: Listing, names: Sequence[str], column: str) -> bool:
    """Whether a column of bytes is null in all rows of all files, as far as their footers tell."""
    return all(_is_null(listing.root, name, column) for name in names)


def _is_null(root: str, name: str, path: str) -> bool:
    with files.open_file(root, name) as file:
        metadata = _open(file).metadata
        for i in range(metadata.num_row_groups):
            group = metadata.row_group(i)
            chunks = (group.column(j) for j in range(group.num_columns))
            for chunk in chunks:
                if chunk.path_in_schema == path:
                    known = chunk.statistics
                    if known is None or known.null_count != group.num_rows:
                        return False
    return True


def schema_of(root: str, name: str) -> pa.Schema:
    """The columns of a file.

    Raises:
        InputError: it is not whole, or no Parquet.
    """
    return _Footer(root, name).schema


class _Footer:
    """What the footer of a file says."""

    def __init__(self, root: str, name: str):
        self.root, self.name = root, name
        try:
            self.stamp = files.stamp(root, name)
            with files.open_file(root, name) as file:
                parquet = _open(file)
                self.schema = plain_schema(files.text(name), parquet.schema_arrow)
                self.rows: int = parquet.metadata.num_rows
                self.group_rows = [
                    parquet.metadata.row_group(i).num_rows
                    for i in range(parquet.metadata.num_row_groups)
                ]
        except UnicodeDecodeError as error:
            raise odd_name(files.text(name), error) from error
        except (OSError, pa.ArrowException) as error:
            raise files.unreadable(name, "Parquet", error) from error

    def units(self) -> Iterator[dict[str, Any]]:
        """The row groups that hold rows."""
        first_row = 0
        for row_group, rows in enumerate(self.group_rows):
            if rows:
                own = {"row_group": row_group, "rows": rows, "first_row": first_row}
                yield files.unit_of(self.name, self.stamp) | own
            first_row += rows


def _check_same_schema(first: _Footer, other: _Footer) -> None:
    if other.schema.equals(first.schema):
        known, others = columns.features(first.schema), columns.features(other.schema)
        for name in known.keys() & others.keys():
            if known[name] != others[name]:
                raise _schema_differs(first, other, f"the features of {name} are not the same")
        return
    if other.schema.names != first.schema.names:
        here, there = ", ".join(other.schema.names), ", ".join(first.schema.names)
        raise _schema_differs(first, other, f"columns {here} where the first has {there}")
    here, there = next(
        (a, b) for a, b in zip(other.schema, first.schema, strict=True) if not a.equals(b)
    )
    raise _schema_differs(
        first, other, f"a column {_described(here)} where the first has {_described(there)}"
    )


def _described(column: pa.Field) -> str:
    return f"{column.name}: {column.type}{'' if column.nullable else ' not null'}"


def _schema_differs(first: _Footer, other: _Footer, how: str) -> InputError:
    return InputError(
        f"{files.text(other.name)}: {how} ({files.text(first.name)}); all files must have the "
        "same columns, name those that do with a glob"
    )


def _pieces_of(footers: list[_Footer], column: str) -> Iterator[Piece]:
    """A column of all files, read alone; of a struct all but plain bytes, which may be images.

    Raises:
        InputError: a file is gone or not whole, or a dictionary holds text that is not UTF-8.
    """
    for footer in footers:
        file = files.text(footer.name)
        try:
            with files.open_file(footer.root, footer.name, footer.stamp) as opened:
                parquet = _open(opened)
                leaves = _without_bytes(parquet, column)
                for batch in _batches(opened, parquet, LABEL_ROWS, leaves=leaves):
                    yield Piece(file, batch.column(column))
        except pa.ArrowInvalid as error:
            raise damaged(file, column, error) from error
        except (OSError, pa.ArrowException) as error:
            raise files.unreadable(footer.name, "Parquet", error) from error


def _starts_like_image(footers: list[_Footer], column: str) -> bool:
    for footer in footers:
        with files.open_file(footer.root, footer.name) as file:
            parquet = _open(file)
            leaves = _leaves_of(parquet, column)
            for batch in _batches(file, parquet, files.MAX_COPIED_ROWS, leaves=leaves):
                for value in batch.column(0):
                    if value.is_valid:
                        return bool(value.as_py().startswith(_MAGIC))
    return False


def _open(file: IO[bytes]) -> pq.ParquetFile:
    # Without a buffer size, or with pre-buffering, whole column chunks are held in memory; so
    # it is only a few pages, which pyarrow itself writes with up to 1,024 rows each.
    return pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)


def _batches(
    file: IO[bytes],
    parquet: pq.ParquetFile,
    batch_rows: int,
    row_groups: list[int] | None = None,
    leaves: list[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of at most ``batch_rows`` rows, of fewer where a row may be large.

    Args:
        file: that is read.
        parquet: the same, opened.
        batch_rows: at most.
        row_groups: that are read; None: all.
        leaves: by index, that are read; None: all.
    """
    metadata = parquet.metadata
    if row_groups is None:
        row_groups = list(range(metadata.num_row_groups))
    read = range(len(parquet.schema)) if leaves is None else leaves
    if not all(_is_small(parquet.schema.column(i)) for i in read):
        groups = map(metadata.row_group, row_groups)
        batch_rows = min([batch_rows, *(rows_at_a_time(file, each, read) for each in groups)])
    names = None if leaves is None else [parquet.schema.column(i).path for i in leaves]
    return parquet.iter_batches(batch_rows, row_groups, columns=names, use_threads=False)


def _is_small(leaf: pq.ColumnSchema) -> bool:
    """Whether a row has one number of it."""
    binary = leaf.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
    return leaf.max_repetition_level == 0 and not binary


def _leaves_of(parquet: pq.ParquetFile, column: str) -> list[int]:
    """The leaves of a column, by index."""
    paths = [parquet.schema.column(i).path for i in range(len(parquet.schema))]
    return [i for i, path in enumerate(paths) if f"{path}.".startswith(f"{column}.")]


def _without_bytes(parquet: pq.ParquetFile, column: str) -> list[int]:
    """The leaves of a column, by index, but those of plain bytes, where there are others."""
    own = _leaves_of(parquet, column)
    return [i for i in own if not _is_plain_bytes(parquet.schema.column(i))] or own


def _is_plain_bytes(leaf: pq.ColumnSchema) -> bool:
    return leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type == "NONE"
