"""One pass over the score rows of a run: count them, and spread them over buckets.

The suites look at one bucket at a time, so memory is bounded. The bucket of a row follows from
its ``sample_id``: equal ids meet in the same bucket, so ids that are unique in every bucket
are unique.
"""

import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.runs.layout import SCORES
from pipelines.runs.store import Store
from sanitizer.errors import InputError
from sanitizer.records import POISONED
from sanitizer.summary import label_counts

if TYPE_CHECKING:
    import pandas as pd

#: Score rows in a bucket, give or take the luck of the hash.
BUCKET_ROWS = 100_000

#: Beyond so many the buckets grow instead: each is an open file while rows are spread.
MAX_BUCKETS = 256

#: What the suites look at; labels are only counted. Nullable throughout: that nothing is
#: null is for the suites to notice, with the ids of what is.
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("score", pa.float64()),
        ("p_value", pa.float64()),
        ("scan_log_odds", pa.float64()),
        ("verdict", pa.string()),
        ("decided_by", pa.string()),
        ("verdict_before", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("content_sha256", pa.string()),
    ]
)

#: Columns that describe an image file: of the many that were kept they would cost much memory.
OF_FILES = ("format", "width", "height", "content_sha256")


@dataclass
class WrittenRows:
    """What the score rows of a run amount to, read back from where they were written."""

    verdicts: dict[int, Counter[str]] = field(default_factory=dict)  #: by shard
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)  #: by label key, verdict


def spread(store: Store, rows: Sequence[int], folder: Path) -> WrittenRows:
    """Write every score row to the bucket of its id, and count the rows.

    Args:
        store: OUTPUT.
        rows: how many samples were read from each shard.
        folder: an empty one, for the buckets.

    Raises:
        OSError, pyarrow.ArrowInvalid: a file of score rows cannot be read.
    """
    written = WrittenRows()
    count = min(MAX_BUCKETS, max(1, math.ceil(sum(rows) / BUCKET_ROWS)))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pa.ipc.new_file(str(folder / f"{i:03d}.arrow"), SCHEMA))
            for i in range(count)
        ]
        for block in _blocks(store, len(rows), written):
            if count == 1:
                writers[0].write_table(block)
                continue
            bucket = np.array(
                [zlib.crc32((i or "").encode()) % count for i in block["sample_id"].to_pylist()]
            )
            for i in np.unique(bucket):
                writers[i].write_table(block.filter(pa.array(bucket == i)))
    return written


def read_buckets(folder: Path) -> Iterator["pd.DataFrame"]:
    """The rows of one bucket after the other, with the columns of ``SCHEMA``."""
    for bucket in sorted(folder.iterdir()):
        with pa.OSFile(str(bucket)) as file:
            yield pa.ipc.open_file(file).read_pandas()


def _blocks(store: Store, shards: int, written: WrittenRows) -> Iterator[pa.Table]:
    """The score rows in blocks of about ``BUCKET_ROWS``, counted into ``written``."""
    present = set(store.shards(SCORES))
    waiting: list[pa.RecordBatch] = []
    for shard in range(shards):
        name = SCORES.name(shard, shards)
        if name not in present:
            continue
        verdicts = written.verdicts.setdefault(shard, Counter())
        with store.open(name) as handle, pq.ParquetFile(handle) as file:
            _check_columns(file.schema_arrow, name)
            for batch in file.iter_batches(BUCKET_ROWS, columns=[*SCHEMA.names, "label"]):
                for one in batch["verdict"].value_counts().to_pylist():
                    verdicts[one["values"]] += one["counts"]
                written.labels.update(label_counts(batch["label"], batch["verdict"]))
                waiting.append(_looked_at(batch))
                if sum(b.num_rows for b in waiting) >= BUCKET_ROWS:
                    yield pa.Table.from_batches(waiting)
                    waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _check_columns(schema: pa.Schema, name: str) -> None:
    """Refuse score rows that another version wrote.

    Raises:
        InputError: a column is missing.
    """
    if missing := [column for column in SCHEMA.names if column not in schema.names]:
        raise InputError(
            f"{name} has no column {', '.join(missing)}: another version wrote it; clean again "
            "with --overwrite"
        )


def _looked_at(batch: pa.RecordBatch) -> pa.RecordBatch:
    """What the suites look at; what describes a file only where that was removed."""
    removed = pc.equal(batch["verdict"], POISONED)
    columns = [
        pc.if_else(removed, batch[name], None) if name in OF_FILES else batch[name]
        for name in SCHEMA.names
    ]
    return pa.RecordBatch.from_arrays(columns, SCHEMA.names).cast(SCHEMA)
