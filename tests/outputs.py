"""What a run has written."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def table_of(output: Path, prefix: str) -> pa.Table:
    """The rows of all files ``<prefix>-….parquet``, in the order of their names."""
    return pa.concat_tables([pq.read_table(f) for f in sorted(output.glob(f"{prefix}-*.parquet"))])


def digests(output: Path, pattern: str = "*") -> dict[str, str]:
    """SHA-256 of the files whose names match, in all folders below, by relative path."""
    files = sorted(path for path in output.rglob(pattern) if path.is_file())
    return {
        file.relative_to(output).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
