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
    pieces: list[Samples] = []
    for shard in source.shards:
        pickled = pickle.dumps(shard)
        assert len(pickled) <= MAX_ELEMENT
        pieces += reader.read(pickle.loads(pickled), batch_rows)
    for piece in pieces:
        assert piece.batch.schema.equals(source.schema, check_metadata=True)
        assert 0 < len(piece) <= batch_rows
        assert len(piece.files) == len(piece)
    return [row for piece in pieces for row in piece.batch.to_pylist()]


def reasons_of(source: Source) -> dict[str, str]:
    """Why images were not read, by sample id; their bytes are null."""
    reasons = {}
    for samples in source.samples():
        rows = samples.batch.to_pylist()
        for row, error in samples.unread.items():
            assert rows[row]["image"]["bytes"] is None
            reasons[rows[row]["sample_id"]] = str(error)
    return reasons


def files_of(source: Source) -> list[str]:
    """The file that each row comes from."""
    return [file for samples in source.samples() for file in samples.files]
