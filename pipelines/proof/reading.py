"""All rows of a set, one batch after another."""

from collections.abc import Iterator

import pyarrow as pa

from pipelines.sources.base import Source


def read_batches(source: Source) -> Iterator[pa.RecordBatch]:
    """The record batches of a set in its order, one in memory at a time."""
    for shard in source.shards:
        yield from shard.read()
