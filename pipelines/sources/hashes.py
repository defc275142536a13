"""Images compared with the SHA-256 that their set publishes beside them.

Sets from the web come as an index with a ``sha256`` for each image: a column of Parquet files, a
member of a WebDataset sample, or a key of its ``.json``.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipelines.sources.base import BATCH_ROWS, Reader, Samples, Shard, Source, Units
from pipelines.sources.columns import SAMPLE_ID, encoded_images, is_bytes
from sanitizer.errors import InputError, quoted
from sanitizer.images import ImageError

#: What the column, the member or the key is called.
HASH = "sha256"

#: The column of WebDataset samples that may hold it as a key.
_JSON = "json"

#: Why an image is rejected, as it is counted.
MISMATCH, MISSING = "hash mismatch", "hash missing"


@dataclass(frozen=True)
class VerifyingReader:
    """Another reader, whose images are compared with their hashes as they are read.

    One that does not match keeps its bytes in its row, and has the reason in ``unread``.
    """

    reader: Reader  #: without its units
    units: Units  #: of that reader
    image_column: str
    hash_column: str  #: of text or bytes; or of JSON that has the key

    @property
    def schema(self) -> pa.Schema:
        """Of the batches."""
        return self.reader.schema

    def read(self, shard: Shard, batch_rows: int = BATCH_ROWS) -> Iterator[Samples]:
        """As the reader does."""
        for samples in self._whole().read(shard, batch_rows):
            yield replace(samples, unread={**self._failed(samples), **samples.unread})

    def labels(self, shard: Shard, column: str) -> Iterator[pa.Array]:
        """As the reader does."""
        return self._whole().labels(shard, column)

    def _whole(self) -> Reader:
        return replace(self.reader, units=self.units)  # type: ignore[type-var]

    def _failed(self, samples: Samples) -> dict[int, ImageError]:
        images = encoded_images(samples.batch, self.image_column)
        hashes = hashes_of(samples.batch, self.hash_column)
        errors = {
            row: _compared(data, published)
            for row, (data, published) in enumerate(zip(images, hashes, strict=True))
            if data is not None
        }
        return {row: error for row, error in errors.items() if error is not None}


def _compared(data: bytes, published: str | None) -> ImageError | None:
    """Why an image is not what its set says it is; None if it is."""
    if published is None:
        return ImageError(MISSING, f"the set gives no {HASH} for this image")
    found = hashlib.sha256(data).hexdigest()
    if found == published.lower():
        return None
    return ImageError(MISMATCH, f"its SHA-256 is {found}, the set says {quoted(published, 80)}")


def hashes_of(batch: pa.RecordBatch, column: str) -> list[str | None]:
    """The published hash of each row, as text; None where there is none."""
    values = batch.column(column).to_pylist()
    return [_in_json(value) if column == _JSON else _in_text(value) for value in values]


def _in_text(value: Any) -> str | None:
    if isinstance(value, bytes):
        is_raw = len(value) == hashlib.sha256().digest_size
        value = value.hex() if is_raw else value.decode("latin-1")
    return value.strip() or None if isinstance(value, str) else None


def _in_json(value: Any) -> str | None:
    try:
        found = json.loads(value or "null")
    except (ValueError, RecursionError):
        return None
    return _in_text(found.get(HASH)) if isinstance(found, dict) else None


def verified(source: Source) -> Source:
    """A source whose images are compared with their hashes.

    Raises:
        InputError: it publishes none.
    """
    column = _hash_column(source)
    reader = VerifyingReader(
        replace(source.reader, units=Units(None)),  # type: ignore[type-var]
        source.reader.units,
        source.image_column,
        column,
    )
    return replace(source, reader=reader, hash_column=column)


def _hash_column(source: Source) -> str:
    names = source.schema.names
    if HASH in names and _is_hash(source.schema.field(HASH).type):
        return HASH
    if _JSON in names and pa.types.is_string(source.schema.field(_JSON).type):
        first = next(source.reader.read(source.shards[0]), None)
        if first is not None and any(hashes_of(first.batch, _JSON)):
            return _JSON
    bare = source.kind == "image folder" and {"image", "label", SAMPLE_ID}.issuperset(names)
    what = "an image folder has none" if bare else ", ".join(names)
    raise InputError(
        f"{source.location}: found no {HASH} to verify ({what}); expected a column {HASH}, or a "
        f"key {HASH} in the .json of each sample: leave out --verify-hashes"
    )


def _is_hash(kind: pa.DataType) -> bool:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_fixed_size_binary)
    return is_bytes(kind) or any(is_kind(kind) for is_kind in texts)
