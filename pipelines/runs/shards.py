"""The Parquet files of one shard: written under temporary names, renamed when all are whole.

Final names follow from the shard's number alone, so a shard that runs twice overwrites
itself. Temporary names start with a dot, which every reader of a dataset passes over.
"""

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

#: A row group is written when so many bytes wait for it.
ROW_GROUP_BYTES = 16 << 20

TEMPORARY_PREFIX = ".part-"


class ParquetPart:
    """One file of a shard. Rows wait in memory until a row group is worth its overhead."""

    def __init__(self, path: Path, schema: pa.Schema):
        self.path = path
        self.rows = 0
        self._temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.stem}-{uuid.uuid4().hex}")
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        # A dictionary of image bytes only costs memory: no two are alike.
        plain = [f.name for f in schema if not _holds_binary(f.type)]
        self._writer = pq.ParquetWriter(
            self._temporary,
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
        """Write what waits and close the file, still under its temporary name."""
        self._flush()
        self._writer.close()

    def column(self, name: str) -> list[Any]:
        """One column of the finished file, read back from disk."""
        return pq.read_table(self._temporary, columns=[name])[name].to_pylist()

    def publish(self) -> dict[str, Any]:
        """Rename to the final name; returns ``{rows, bytes, sha256}`` of the file."""
        with self._temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = self._temporary.stat().st_size
        self._temporary.replace(self.path)
        return {"rows": self.rows, "bytes": size, "sha256": digest}

    def discard(self) -> None:
        self._temporary.unlink(missing_ok=True)


def _holds_binary(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_binary(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


@dataclass
class ShardFiles:
    """The files of shard ``index`` out of ``total``, as a context.

    On a clean exit of the context nothing is published yet: call :meth:`publish`. Whatever
    was not published is removed.
    """

    output: Path
    index: int
    total: int
    _parts: dict[str, ParquetPart] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for part in self._parts.values():
            part.discard()

    def open(self, prefix: str, schema: pa.Schema) -> ParquetPart:
        """Start the file ``<prefix>-<index>-of-<total>.parquet``, such as ``data/clean-…``."""
        path = self.output / f"{prefix}-{self.index:05d}-of-{self.total:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._parts[prefix] = ParquetPart(path, schema)
        return self._parts[prefix]

    def finish(self) -> None:
        for part in self._parts.values():
            part.finish()

    def publish(self) -> dict[str, dict[str, Any]]:
        """Rename all files; returns what :meth:`ParquetPart.publish` says, by relative path."""
        return {
            part.path.relative_to(self.output).as_posix(): part.publish()
            for part in self._parts.values()
        }


def write_json(path: Path, value: Any) -> None:
    """Write JSON through a temporary file, so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex}")
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
