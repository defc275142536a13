"""Reads sources the way a worker does."""

import pickle
from pathlib import Path
from typing import Any

from pipelines.sources.base import Samples, Source

#: An element of the Beam chain is no larger, in bytes.
MAX_ELEMENT = 1024


def rows_of(
    source: Source, batch_rows: int = 256, listing: Path | None = None
) -> list[dict[str, Any]]:
    """All rows, read by a reader and shards that were sent elsewhere; checks every batch.

    Args:
        listing: a file to put the source's units in, so that they do not travel either.
    """
    reader: Any = source.reader
    if listing is not None:
        import dataclasses

        listing.write_bytes(reader.units.to_bytes())
        reader = dataclasses.replace(reader, units=reader.units.stored(str(listing)))
    reader = pickle.loads(pickle.dumps(reader))
    parts: list[Samples] = []
    for shard in source.shards:
        travelling = pickle.dumps(shard)
        assert len(travelling) <= MAX_ELEMENT
        parts += reader.read(pickle.loads(travelling), batch_rows)
    for part in parts:
        assert part.batch.schema.equals(source.schema, check_metadata=True)
        assert 0 < len(part) <= batch_rows
        assert len(part.files) == len(part)
    return [row for part in parts for row in part.batch.to_pylist()]


def files_of(source: Source) -> list[str]:
    """The file that each row comes from."""
    return [file for part in source.samples() for file in part.files]
