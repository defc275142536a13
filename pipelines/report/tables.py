"""Counts of a run as tables, expected beside written, for the suites to compare."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.report.buckets import WrittenRows
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.records import CLEAN, POISONED, REJECTED, VERDICTS
from sanitizer.summary import Summary

if TYPE_CHECKING:
    import pandas as pd

#: The files of a shard, and which rows of its scores each holds.
FILES = {
    layout.SCORES: VERDICTS,
    layout.CLEAN: (CLEAN,),
    layout.POISONED: (POISONED,),
    layout.REJECTED: (REJECTED,),
}

#: Rows of a file that is absent, or that should be.
ABSENT = -1

#: Rows of what is no Parquet file, or a broken one: equal to nothing that is expected.
BROKEN = -2


def file_table(store: Store, rows: Sequence[int], written: WrittenRows) -> "pd.DataFrame":
    """Rows of each Parquet file: ``file``, ``expected``, ``found``."""
    import pandas as pd

    expected: dict[str, int] = {}
    for kind, verdicts in FILES.items():
        for shard, read in enumerate(rows):
            counts = written.verdicts.get(shard, Counter())
            expected[kind.name(shard, len(rows))] = (
                read if verdicts == VERDICTS else sum(counts[verdict] for verdict in verdicts)
            )
    present = {
        name: _row_count(store, name)
        for folder in dict.fromkeys(kind.folder for kind in FILES)
        for name in store.names(folder, "*.parquet")
    }
    names = [*expected, *sorted(present.keys() - expected.keys())]
    return pd.DataFrame(
        {
            "file": names,
            "expected": [expected.get(name, ABSENT) for name in names],
            "found": [present.get(name, ABSENT) for name in names],
        }
    )


def _row_count(store: Store, name: str) -> int:
    try:
        with store.open(name) as handle:
            return int(pq.read_metadata(handle).num_rows)
    except (pa.ArrowInvalid, OSError):
        return BROKEN


def count_table(rows: Sequence[int], summary: Summary, written: WrittenRows) -> "pd.DataFrame":
    """Samples in all: ``count``, ``expected``, ``found``."""
    import pandas as pd

    verdicts = sum(written.verdicts.values(), Counter())
    kinds = ("read", *VERDICTS)
    return pd.DataFrame(
        {
            "count": ["read", "judged", *VERDICTS],
            "expected": [sum(rows), *(getattr(summary.counts, kind) for kind in kinds)],
            "found": [*[sum(verdicts.values())] * 2, *(verdicts[verdict] for verdict in VERDICTS)],
        }
    )


def class_table(summary: Summary, written: WrittenRows) -> "pd.DataFrame":
    """Samples of each class: ``label``, and for ``all`` and each verdict two columns.

    They are named ``…_judged``, as the summary has it, and ``…_written``.
    """
    import pandas as pd

    judged = {one.label: one for one in summary.per_class}
    labels = sorted(judged.keys() | {label for label, _ in written.labels})

    def of_class(label: str, kind: str) -> int:
        return int(getattr(judged[label], kind)) if label in judged else 0

    columns: dict[str, list[Any]] = {"label": labels}
    columns["all_judged"] = [of_class(label, "read") for label in labels]
    columns["all_written"] = [sum(written.labels[label, v] for v in VERDICTS) for label in labels]
    for verdict in VERDICTS:
        columns[f"{verdict}_judged"] = [of_class(label, verdict) for label in labels]
        columns[f"{verdict}_written"] = [written.labels[label, verdict] for label in labels]
    return pd.DataFrame(columns)
