"""What every input comes down to: a reader, and a list of shards that are a few numbers each.

A source is resolved once, in the driver. What it consists of (files, row groups, tars) is a
table, its units; a shard is a run of units. The reader travels to the workers once, with the
schema; the units travel as a file; and the shards, of which there may be many, are tiny.
Pixels never travel: a worker reads its shards itself.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, Protocol, Self

import pyarrow as pa

from pipelines.sources.files import open_file
from sanitizer.images import ImageError

#: Rows of a shard where the source leaves the choice.
SHARD_ROWS = 2000

#: Rows of a record batch.
BATCH_ROWS = 256

#: The column of units that holds what their rows have beside an image, as a struct.
VALUES = "values"

#: Units in a record batch of the file that holds them; a worker reads whole ones.
_UNIT_ROWS = 1024

#: Units that are Python objects at a time while they become a table.
_PIECE_ROWS = 1 << 16

#: Bytes of that file that a worker reads beyond what it needs: of a million units it has 70 MB.
_UNITS_AHEAD = 64 << 10


@dataclass(frozen=True)
class Reading:
    """How an input is to be read, as far as its user said."""

    split: str | None  #: which split to read; None where there is only one
    image_column: str | None  #: None to find it
    label_column: str | None  #: None to find it, where there is one
    shard_rows: int  #: rows of a shard, about; at least 1


class Shard(NamedTuple):
    """What one worker reads in one go: consecutive units of a source, or rows of one unit."""

    first: int  #: index of its first unit
    last: int  #: index behind its last unit
    skip: int = 0  #: rows of the first unit before the shard's own
    rows: int | None = None  #: of the shard; None: all that its units hold

    @property
    def size(self) -> int:
        """Its rows, or its units where those are not counted."""
        return self.last - self.first if self.rows is None else self.rows


@dataclass(frozen=True)
class Samples:
    """Some rows of a source."""

    batch: pa.RecordBatch  #: of :attr:`Source.schema`
    files: list[str]  #: of each row the file, tar or folder that it comes from
    #: by row, why its image was not read, such as a broken link; there its bytes are null
    unread: Mapping[int, ImageError] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.batch.num_rows)


@dataclass(frozen=True)
class Units:
    """What a source consists of, a row for each unit: a table in memory, or in an Arrow file.

    >>> units = Units.of([{"name": "a.tar"}, {"name": "b.tar"}], pa.schema([("name", pa.string())]))
    >>> units[1:2]
    [{'name': 'b.tar'}]
    """

    table: pa.Table | None = field(repr=False)
    address: str | None = None  #: absolute path or URL of the file, where there is no table

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Self:
        """Units in memory.

        Args:
            rows: the columns of each unit, in the order that shards count units in; they are taken
                piece by piece, as a million of them at once would be most of a gigabyte.
            schema: of the columns.
        """
        left = iter(rows)
        pieces = iter(lambda: list(islice(left, _PIECE_ROWS)), [])
        batches = [pa.RecordBatch.from_pylist(piece, schema=schema) for piece in pieces]
        return cls(pa.Table.from_batches(batches, schema))

    def beside(self, values: pa.Table | None) -> Self:
        """The same units with what their rows have beside an image, a row for each unit.

        The values stay as Arrow has them: not all types survive to be Python objects.
        """
        if values is None or not values.num_columns:
            return self
        assert self.table is not None
        arrays = [_one(column) for column in values.columns]
        together = pa.StructArray.from_arrays(arrays, fields=list(values.schema))
        return type(self)(self.table.append_column(VALUES, together))

    def __getitem__(self, run: slice) -> list[dict[str, Any]]:
        """Consecutive units, as dictionaries by column, but for their :meth:`values`.

        Args:
            run: with a start and a stop, without a step.
        """
        table = self._rows(run)
        if VALUES in table.schema.names:
            table = table.drop_columns([VALUES])
        return table.to_pylist()

    def values(self, run: slice) -> pa.StructArray:
        """What the rows of consecutive units have beside an image."""
        return _one(self._rows(run).column(VALUES))

    def _rows(self, run: slice) -> pa.Table:
        first, count = run.start, run.stop - run.start
        if self.table is not None:
            return self.table.slice(first, count)
        start = first // _UNIT_ROWS
        root, _, name = str(self.address).rpartition("/")
        with open_file(root, name, ahead=_UNITS_AHEAD) as file:
            stored = pa.ipc.open_file(file)
            stop = min(stored.num_record_batches, -(-run.stop // _UNIT_ROWS))
            batches = [stored.get_batch(i) for i in range(start, stop)]
        table = pa.Table.from_batches(batches)
        return table.slice(first - start * _UNIT_ROWS, count)

    def to_bytes(self) -> bytes:
        """The Arrow file that :meth:`stored` refers to."""
        assert self.table is not None
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, self.table.schema) as writer:
            writer.write_table(self.table.combine_chunks(), max_chunksize=_UNIT_ROWS)
        return bytes(sink.getvalue())

    def stored(self, address: str) -> Self:
        """The same units, to be read from the file at an address."""
        return type(self)(None, address)

    def digest(self) -> str:
        """SHA-256 of all units: another one if any file is another."""
        assert self.table is not None
        digest = hashlib.sha256()
        for start in range(0, self.table.num_rows, _UNIT_ROWS):
            digest.update(repr(self.table.slice(start, _UNIT_ROWS).to_pydict()).encode())
        return digest.hexdigest()


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    together = column.combine_chunks()
    return together if isinstance(together, pa.Array) else pa.concat_arrays(together.chunks)


class Reader(Protocol):
    """Reads the shards of one source, on any machine. Picklable; a frozen dataclass."""

    @property
    def schema(self) -> pa.Schema:
        """Of the batches: the input's own columns, untouched, with metadata, and ``sample_id``."""

    @property
    def units(self) -> Units:
        """What the source consists of."""

    def read(self, shard: Shard, batch_rows: int = BATCH_ROWS) -> Iterator[Samples]:
        """The rows of a shard in a fixed order, bounded in memory, at least one at a time.

        Raises:
            InputError: a file is unreadable or no longer what it was when resolved.
        """

    def labels(self, shard: Shard, column: str) -> Iterator[pa.Array]:
        """A column of a shard, without the images where the source can leave them out.

        Raises:
            InputError: as :meth:`read`.
        """


@dataclass(frozen=True)
class Source:
    """An image set, resolved."""

    location: str  #: what the user gave
    #: "image folder", "paths", "zip", "parquet", "webdataset", "saved dataset" or "hub"
    kind: str
    reader: Reader
    image_column: str  #: struct<bytes, path> or raw bytes
    label_column: str | None  #: None where the set has no labels
    class_names: tuple[str, ...] | None  #: by label index, where the set names its classes
    shards: tuple[Shard, ...] = field(repr=False)  #: in a fixed order, which numbers output files
    rows: int | None  #: total, where it is known without reading everything
    #: absolute local folder or file that everything is read from; None where it is not local
    root: str | None = None
    nbytes: int = 0  #: of all files that will be read; 0 where it is not known cheaply
    #: bytes that are read for each shard, where ``rows`` is not known and these are
    shard_bytes: tuple[int, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = field(default=())  #: what the user should be told, one line each
    #: the column of hashes that its images are compared with; None: they are not
    hash_column: str | None = None

    @property
    def schema(self) -> pa.Schema:
        """Of the record batches, ``sample_id`` included."""
        return self.reader.schema

    def samples(self) -> Iterator[Samples]:
        """All rows, shard after shard."""
        for shard in self.shards:
            yield from self.reader.read(shard)

    def labels(self) -> Iterator[pa.Array]:
        """The label column in pieces, which there must be."""
        assert self.label_column is not None
        for shard in self.shards:
            yield from self.reader.labels(shard, self.label_column)

    def digest(self) -> str:
        """SHA-256 of what will be read: the files, what they were when listed, and the schema."""
        described = f"{self.reader.units.digest()}\n{self.schema!r}"
        return hashlib.sha256(described.encode("utf-8", "surrogatepass")).hexdigest()


def label_column_of(reader: Reader, shard: Shard, column: str) -> Iterator[pa.Array]:
    """:meth:`Reader.labels` of a source that cannot leave the images out."""
    for samples in reader.read(shard):
        yield samples.batch.column(column)


def cut(unit_rows: Sequence[int], shard_rows: int, max_cuts: int | None = None) -> list[Shard]:
    """Shards of about ``shard_rows`` rows: small units are joined, large ones cut evenly.

    Args:
        unit_rows: rows of each unit, at least 1.
        shard_rows: rows of a shard, about; at least 1.
        max_cuts: into so many shards a unit is cut at most; None: into any number.

    >>> cut([1, 1, 1, 5], shard_rows=2)[:3]
    [Shard(first=0, last=2, skip=0, rows=2), Shard(first=2, last=3, skip=0, rows=1), \
Shard(first=3, last=4, skip=0, rows=1)]
    """
    shards = []
    for first, last in runs_up_to(shard_rows, unit_rows):
        total = sum(unit_rows[first:last])
        cuts = -(-total // shard_rows) if last == first + 1 else 1
        cuts = cuts if max_cuts is None else min(max_cuts, cuts)
        for i in range(cuts):
            start, stop = total * i // cuts, total * (i + 1) // cuts
            shards.append(Shard(first, last, start, stop - start))
    return shards


def runs_up_to(limit: int, weights: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive units that weigh at most ``limit`` together, or a single heavier one.

    Args:
        weights: of each unit, rows or bytes.

    Yields:
        The index of the first unit of a run, and the index behind its last.

    >>> list(runs_up_to(4, [1, 2, 3, 9]))
    [(0, 2), (2, 3), (3, 4)]
    """
    first, weight = 0, 0
    for i, own in enumerate(weights):
        if i > first and weight + own > limit:
            yield first, i
            first, weight = i, 0
        weight += own
    if weights:
        yield first, len(weights)
