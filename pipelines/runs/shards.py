"""What one shard of a pass reads and writes.

Final names follow from the shard's number alone, so a shard that runs twice overwrites
itself. A file is written under a temporary name and gets its own when all of the shard's
files are whole.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runs import layout
from pipelines.runs.layout import ShardedFile
from pipelines.runs.manifest import FileFacts
from pipelines.runs.store import Store
from pipelines.runs.threads import map_in_order
from pipelines.sources.base import BATCH_ROWS, Reader, Samples, Shard

Result = TypeVar("Result")

AnyWriter = TypeVar("AnyWriter", bound="Writer")

#: A row group is written when so many bytes wait for it.
ROW_GROUP_BYTES = 16 << 20


class Writer(ABC):
    """Writes one file of a shard, of record batches of one schema."""

    def __init__(self, store: Store, name: str, schema: pa.Schema):
        self.name = name
        self.rows = 0
        self._store = store
        self._staged = store.stage(name)
        self._schema = schema

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows, a batch of the writer's schema."""

    @abstractmethod
    def finish(self) -> None:
        """Close the file, still under its temporary name."""

    def publish(self) -> FileFacts:
        """Give the finished file its name."""
        with self._staged.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self._staged.stat().st_size
        self._store.publish(self._staged, self.name)
        return FileFacts(bytes=size, sha256=digest, rows=self.rows)

    def discard(self) -> None:
        """Remove what was written and not published."""
        self._staged.unlink(missing_ok=True)

    @contextmanager
    def _gone_after_an_error(self) -> Iterator[None]:
        """A file that cannot even be started, as on a full disk, is nobody's to remove later."""
        try:
            yield
        except BaseException:
            self.discard()
            raise


class BatchWriter(Writer):
    """Writes one Arrow file, of which each batch can be read without the others."""

    def __init__(self, store: Store, name: str, schema: pa.Schema):
        super().__init__(store, name, schema)
        with self._gone_after_an_error():
            self._writer = pa.ipc.new_file(str(self._staged), schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        self._writer.write_batch(batch)

    def finish(self) -> None:
        self._writer.close()


class RowWriter(Writer):
    """Writes one Parquet file. Rows wait in memory until a row group is worth its overhead."""

    def __init__(self, store: Store, name: str, schema: pa.Schema):
        super().__init__(store, name, schema)
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        # A dictionary of image bytes only costs memory: no two are alike.
        plain = [f.name for f in schema if not _holds_binary(f.type)]
        with self._gone_after_an_error():
            self._writer = pq.ParquetWriter(
                self._staged,
                schema,
                compression="zstd",
                use_dictionary=plain,
                write_statistics=plain,
            )

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        self.rows += batch.num_rows
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._waiting_bytes = [], 0

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def column(self, name: str) -> list[Any]:
        """One column of the finished file, read back from disk."""
        return list(pq.read_table(self._staged, columns=[name])[name].to_pylist())


def _holds_binary(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_binary(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def read_rows(
    store: Store, file: ShardedFile, columns: list[str], shards: int | None = None
) -> pa.Table:
    """Some columns of a sharded file, all shards together, in their order.

    Args:
        shards: how many there are; None: whatever there is.

    Raises:
        OSError: there is none, or one cannot be read.
    """
    tables = []
    for name in store.shards(file, shards):
        with store.open(name) as opened:
            tables.append(pq.read_table(opened, columns=columns))
    if not tables:
        raise FileNotFoundError(f"{store.locate(file.pattern)}: no such file")
    return pa.concat_tables(tables)


@dataclass
class ShardTask:
    """A shard of a pass: what there is to read, and where to write. A context.

    On a clean exit of the context nothing is published yet: call :meth:`publish`. Whatever
    was not published is removed.
    """

    pass_name: str
    index: int  #: of the shard
    total: int  #: of shards
    reader: Reader
    shard: Shard
    store: Store
    workers: int = 1  #: threads that work in this process, shared by its shards
    ahead: int = 1  #: batches of this shard that may be under way at a time
    _writers: dict[str, Writer] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for writer in self._writers.values():
            writer.discard()

    def samples(self, batch_rows: int = BATCH_ROWS) -> Iterator[Samples]:
        """The shard's rows of the input, in batches of at most so many."""
        return self.reader.read(self.shard, batch_rows)

    def map(
        self, function: Callable[[Samples], Result], batch_rows: int = BATCH_ROWS
    ) -> Iterator[Result]:
        """``function`` of each batch of the input, in order, computed by all threads."""
        return map_in_order(function, self.samples(batch_rows), self.workers, self.ahead)

    def artefact_of(self, pass_name: str) -> pa.Table:
        """What this shard left in an earlier pass."""
        with self.store.open(layout.artefact(pass_name, self.index)) as file:
            return pq.read_table(file)

    def open(self, file: ShardedFile, schema: pa.Schema) -> RowWriter:
        """Start the shard's own file of those that every shard writes."""
        return self._keep(RowWriter(self.store, file.name(self.index, self.total), schema))

    def open_artefact(self, schema: pa.Schema) -> RowWriter:
        """Start what this shard leaves to the next pass."""
        name = layout.artefact(self.pass_name, self.index)
        return self._keep(RowWriter(self.store, name, schema))

    def open_views(self, schema: pa.Schema) -> BatchWriter:
        """Start the shard's images as the scan sees them."""
        return self._keep(BatchWriter(self.store, layout.views(self.pass_name, self.index), schema))

    def _keep(self, writer: AnyWriter) -> AnyWriter:
        self._writers[writer.name] = writer
        return writer

    def finish(self) -> None:
        """Close all files, which can be read back then, and are not published yet."""
        for writer in self._writers.values():
            writer.finish()

    def publish(self) -> dict[str, FileFacts]:
        """Give all files their names; returns what they are, by name."""
        return {name: writer.publish() for name, writer in self._writers.items()}
