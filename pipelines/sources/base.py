"""What every source of images comes down to: a schema and a list of shard descriptors.

A source is resolved once, in the driver. Its shards are small, picklable and frozen; a
worker turns one into record batches by itself, so pixels never travel between workers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

#: Rows of a shard where the source leaves the choice.
SHARD_ROWS = 2000

#: Rows of a record batch.
BATCH_ROWS = 256


class Shard(Protocol):
    """A part of a source that one worker reads in one go."""

    @property
    def source(self) -> str:
        """File, tar or folder it reads from, relative to the input: the score rows' ``source``."""

    def read(self, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Record batches of :attr:`Source.schema`, in a fixed order, bounded in memory.

        Raises:
            InputError: the file is unreadable or no longer what it was when resolved.
        """


@dataclass(frozen=True)
class Source:
    """An image set, resolved.

    ``schema`` is that of the batches the shards yield: the input's own columns, untouched,
    with their ``huggingface`` metadata, plus ``sample_id``.
    """

    location: str  #: what the user gave
    kind: str  #: "image folder", "parquet", "webdataset", "saved dataset" or "hub"
    schema: pa.Schema  #: of the record batches, ``sample_id`` included
    image_column: str  #: struct<bytes, path> or raw bytes
    label_column: str | None  #: None where the set has no labels
    class_names: tuple[str, ...] | None  #: by label index, where the set names its classes
    shards: tuple[Shard, ...]  #: in a fixed order, which numbers the output files
    rows: int | None  #: total, where it is known without reading everything
    #: absolute local folder or file that everything is read from; None where it is not local
    root: str | None = None
    nbytes: int = 0  #: of all files that will be read; 0 where it is not known cheaply
    notes: tuple[str, ...] = field(default=())  #: what the user should be told, one line each
