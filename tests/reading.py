"""Reads sources the way a worker does."""

import pickle
from typing import Any

from pipelines.sources.base import Source


def rows_of(source: Source, batch_rows: int = 256) -> list[dict[str, Any]]:
    """All rows, read from shards that were sent elsewhere; checks every batch's schema."""
    batches = [b for s in source.shards for b in pickle.loads(pickle.dumps(s)).read(batch_rows)]
    assert all(b.schema.equals(source.schema, check_metadata=True) for b in batches)
    assert all(0 < b.num_rows <= batch_rows for b in batches)
    return [row for b in batches for row in b.to_pylist()]
