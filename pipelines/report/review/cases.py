"""Which images a reviewer is shown: all that were removed, and the kept ones nearest to that.

How sure a removal is, is told on one scale: in units of the natural logarithm by how much the
p-value is below the limit, or the odds of carrying a trigger are above even, whichever is more.
At 0 lies the line between keeping and removing, and next to it what is worth a look first.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.records import POISONED, REJECTED, REVIEW, REVIEWED
from sanitizer.summary import Summary

#: Images in a page at most: more would make it too large to open.
MOST_CASES = 50_000

#: Images that were kept, and of all of these come nearest to being removed.
NEAREST_KEPT = 100

#: Rows of scores that are in memory at a time.
_ROWS = 100_000

#: What is shown of a score row.
_SHOWN = (
    *("sample_id", "label", "width", "height", "score", "p_value", "scan_log_odds", "finding"),
    *("verdict", "reason", "decided_by", *REVIEWED),
)


@dataclass(frozen=True)
class Cases:
    """The images that a reviewer is shown, in the order of the input."""

    rows: pa.Table  #: their score rows, the columns of ``_SHOWN``
    sureness: np.ndarray  #: (n,) how sure their removal is; below 0 where freqsan kept them
    shards: np.ndarray  #: (n,) the shard that holds each
    left_out: int  #: removed images that are not among them

    def __len__(self) -> int:
        return int(self.rows.num_rows)


def borderline(summary: Summary) -> float:
    """The p-value at which the line is drawn; where nothing is removed by score, that it may be."""
    return summary.decision.limit or summary.policy.max_clean_loss


def select_cases(store: Store, summary: Summary, shards: int) -> Cases:
    """Find them in two passes over the score rows.

    Raises:
        OSError, pyarrow.ArrowInvalid: a file of score rows cannot be read.
    """
    limit = borderline(summary)
    chosen, left_out = _chosen(store, shards, limit)
    tables, places = [], []
    for shard in range(shards):
        if not (mine := chosen.get(shard)):
            continue
        with store.open(layout.SCORES.name(shard, shards)) as file:
            rows = pq.read_table(file, columns=list(_SHOWN)).take(pa.array(sorted(mine)))
        tables.append(_plain(rows))
        places += [shard] * rows.num_rows
    table = pa.concat_tables(tables, promote_options="permissive") if tables else _nothing()
    return Cases(table, _sureness(table, limit), np.array(places, np.int64), left_out)


def _plain(rows: pa.Table) -> pa.Table:
    """With labels as they are in all shards, also where these encode them as a dictionary."""
    place = rows.schema.get_field_index("label")
    label = rows.column(place)
    if pa.types.is_dictionary(label.type):
        rows = rows.set_column(place, "label", label.cast(label.type.value_type))
    return rows


def _nothing() -> pa.Table:
    return pa.table({name: pa.nulls(0) for name in _SHOWN})


def _chosen(store: Store, shards: int, limit: float) -> tuple[dict[int, list[int]], int]:
    """The rows of each shard that are shown, and how many removed ones are not."""
    # Smallest first are those that go when there are too many: the surest.
    removed: list[tuple[float, int, int]] = []
    kept: list[tuple[float, int, int]] = []
    decided: list[tuple[int, int]] = []
    total = 0
    for shard, first, rows in _blocks(store, shards):
        sureness = _sureness(rows, limit)
        by_review = _is(rows, "decided_by", REVIEW)
        is_removed = _is(rows, "verdict", POISONED) & ~by_review
        is_kept = ~is_removed & ~by_review & ~_is(rows, "verdict", REJECTED)
        decided += [(shard, first + int(row)) for row in np.flatnonzero(by_review)]
        total += int(is_removed.sum())
        for row in np.flatnonzero(is_removed).tolist():
            _push(removed, (-float(sureness[row]), shard, first + row), MOST_CASES)
        # Of each block no more than could be shown in all.
        places = np.flatnonzero(is_kept)
        near = places[np.argsort(-sureness[places], kind="stable")[:NEAREST_KEPT]]
        for row in near.tolist():
            _push(kept, (float(sureness[row]), shard, first + row), NEAREST_KEPT)
    by_shard: dict[int, list[int]] = {}
    for _, shard, row in removed + kept:
        by_shard.setdefault(shard, []).append(row)
    for shard, row in decided[:MOST_CASES]:
        by_shard.setdefault(shard, []).append(row)
    return by_shard, total - len(removed)


def _push(heap: list[tuple[float, int, int]], item: tuple[float, int, int], most: int) -> None:
    """Keep the ``most`` largest."""
    if len(heap) < most:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)


def _blocks(store: Store, shards: int) -> Iterator[tuple[int, int, pa.Table]]:
    """A shard, the number of a row of it, and rows from there on."""
    columns = ["p_value", "scan_log_odds", "verdict", "decided_by"]
    for shard in range(shards):
        first = 0
        with (
            store.open(layout.SCORES.name(shard, shards)) as handle,
            pq.ParquetFile(handle) as file,
        ):
            for batch in file.iter_batches(_ROWS, columns=columns):
                yield shard, first, pa.Table.from_batches([batch])
                first += batch.num_rows


def _is(rows: pa.Table, column: str, value: str) -> np.ndarray:
    return np.asarray(pc.equal(rows[column], value).to_numpy())


def _sureness(rows: pa.Table, limit: float) -> np.ndarray:
    """(n,) float64; minus infinity where nothing was judged."""
    p_values, odds = (
        rows[name].cast(pa.float64()).fill_null(np.nan).to_numpy()
        for name in ("p_value", "scan_log_odds")
    )
    of_score = np.log(limit) - np.log(np.maximum(p_values, 1e-300))
    return np.nan_to_num(np.fmax(of_score, odds), nan=-np.inf, neginf=-np.inf)
