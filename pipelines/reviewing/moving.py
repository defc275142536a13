"""Decisions carried out: rows of one shard go from split to split, bytes untouched.

Both splits of a shard, and its score rows, are in the order of the input; so is what is written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.reviewing.audit import Audited
from pipelines.reviewing.decisions import Decisions, Verdict
from pipelines.runs import layout
from pipelines.runs.manifest import FileFacts
from pipelines.runs.shards import RowWriter
from pipelines.runs.store import Store
from sanitizer.errors import InputError, RunError, quoted
from sanitizer.records import CLEAN, POISONED, REJECTED, REVIEW, REVIEWED
from sanitizer.summary import Moved, label_key

#: Rows of images that are in memory at a time.
COPIED_ROWS = 2048

#: Files of a shard that hold images by verdict.
_SPLITS = {CLEAN: layout.CLEAN, POISONED: layout.POISONED}


@dataclass(frozen=True)
class Revised:
    """A shard whose files were written anew."""

    files: dict[str, FileFacts]  #: by name
    #: its samples that were decided on, in order, but where the last review had decided the same
    audited: list[Audited]
    moved: list[Moved]  #: those of them whose verdict has changed


def shards_of(store: Store, shards: int, decisions: Decisions) -> list[int]:
    """The shards that hold samples which were decided on.

    Raises:
        InputError: an id is not in the run, or is that of an image that could not be judged.
    """
    asked = pa.array(sorted(decisions.by_id), pa.string())
    found: list[int] = []
    unjudged: set[str] = set()
    left = set(decisions.by_id)
    for shard in range(shards):
        with store.open(layout.SCORES.name(shard, shards)) as file:
            rows = pq.read_table(file, columns=["sample_id", "verdict"])
        own = rows.filter(pc.is_in(rows["sample_id"], value_set=asked))
        if own.num_rows:
            found.append(shard)
            left.difference_update(own["sample_id"].to_pylist())
            rejected = own.filter(pc.equal(own["verdict"], REJECTED))
            unjudged.update(rejected["sample_id"].to_pylist())
    for ids, what in (
        (left, "is not a sample of this run"),
        (unjudged, "could not be judged: it is in rejected/, and no decision puts it in a split"),
    ):
        if ids:
            _refuse(decisions, ids, what)
    return found


def _refuse(decisions: Decisions, ids: set[str], what: str) -> None:
    first = next(sample_id for sample_id in decisions.by_id if sample_id in ids)
    more = f" ({len(ids) - 1:,} more are like that)" if len(ids) > 1 else ""
    raise InputError(
        f"{decisions.by_id[first].place}: {quoted(first)} {what}{more}; nothing was changed"
    )


def revise(
    store: Store, staged: Store, shard: int, shards: int, decisions: Decisions, at: str
) -> Revised:
    """Write the score rows and the splits of a shard anew, with a reviewer's verdicts.

    Args:
        store: OUTPUT.
        staged: where the new files go, by the names of the old.
        shard: its number, of ``shards``.
        decisions: on any samples; those on others are passed over.
        at: when, for the record, ISO 8601.

    Raises:
        InputError: another version wrote them.
        RunError: the splits do not hold the rows that the score rows name.
        OSError, pyarrow.ArrowInvalid: a file cannot be read or written.
    """
    name = layout.SCORES.name(shard, shards)
    with store.open(name) as file:
        scores = pq.read_table(file)
    if missing := [
        column for column in ("decided_by", *REVIEWED) if column not in scores.schema.names
    ]:
        raise InputError(
            f"{name} has no column {', '.join(missing)}: another version wrote it; clean again "
            "with --overwrite"
        )
    revised = _revised_scores(scores, decisions.by_id, at)
    files = {name: _written(staged, name, revised.schema, revised.to_batches())}
    before, after = (np.array(rows["verdict"].to_pylist()) for rows in (scores, revised))
    audited, moved = _audit(revised, before, at)
    if moved:
        files |= _move_rows(store, staged, shard, shards, scores["sample_id"], before, after)
    return Revised(files, audited, moved)


def _revised_scores(scores: pa.Table, by_id: Mapping[str, Verdict], at: str) -> pa.Table:
    """The score rows, in which the samples that were decided on say by whom, when and why."""
    columns = {each: scores[each].to_pylist() for each in ("verdict", "decided_by", *REVIEWED)}
    for row, sample_id in enumerate(scores["sample_id"].to_pylist()):
        decided = by_id.get(sample_id)
        if decided is None or decided == _earlier(columns, row):
            continue
        if columns["decided_by"][row] != REVIEW:  # else a review before this one has kept it
            columns["verdict_before"][row] = columns["verdict"][row]
        columns["verdict"][row] = decided.verdict
        columns["decided_by"][row] = REVIEW
        columns["decided_at"][row], columns["decided_why"][row] = at, decided.why
    for each, values in columns.items():
        place = scores.schema.get_field_index(each)
        field = scores.schema.field(place)
        scores = scores.set_column(place, field, pa.array(values, field.type))
    return scores


def _earlier(columns: Mapping[str, list[Any]], row: int) -> Verdict | None:
    """What a reviewer has decided on a sample before; None where freqsan alone has."""
    if columns["decided_by"][row] != REVIEW:
        return None
    return Verdict(columns["verdict"][row], columns["decided_why"][row])


def _audit(revised: pa.Table, verdicts: np.ndarray, at: str) -> tuple[list[Audited], list[Moved]]:
    """Every sample that this review has decided on, and those that change their split.

    Args:
        revised: the score rows with the new verdicts.
        verdicts: (n,) the verdicts until then.
        at: when this review was applied.
    """
    audited, moved = [], []
    for place in np.flatnonzero(pc.equal(revised["decided_at"], at).fill_null(False).to_numpy()):
        row = revised.slice(place, 1).to_pylist()[0]
        before, after = str(verdicts[place]), row["verdict"]
        audited.append(
            Audited(row["sample_id"], before, after, row["verdict_before"], row["decided_why"])
        )
        if before != after:
            moved.append(Moved(label_key(row["label"]), row["score"], before, after))
    return audited, moved


def _move_rows(
    store: Store,
    staged: Store,
    shard: int,
    shards: int,
    ids: pa.ChunkedArray,
    before: np.ndarray,
    after: np.ndarray,
) -> dict[str, FileFacts]:
    """Write both splits of a shard anew.

    Args:
        ids: (n,) of all samples of the shard, in order.
        before: (n,) their verdicts as the files have them.
        after: (n,) as they are to be.
    """
    held = {verdict: _Rows(store, split.name(shard, shards)) for verdict, split in _SPLITS.items()}
    schema = held[CLEAN].schema
    writers = {
        verdict: RowWriter(staged, split.name(shard, shards), schema)
        for verdict, split in _SPLITS.items()
    }
    try:
        for first in range(0, len(ids), COPIED_ROWS):
            piece = slice(first, first + COPIED_ROWS)
            rows, verdicts = _interleaved(held, before[piece]), after[piece]
            _check_same(rows, ids.slice(first, COPIED_ROWS), before[piece])
            verdicts = verdicts[before[piece] != REJECTED]
            for verdict, writer in writers.items():
                for batch in rows.filter(pa.array(verdicts == verdict)).to_batches():
                    writer.write(batch)
        for writer in writers.values():
            writer.finish()
        return {writer.name: writer.publish() for writer in writers.values()}
    finally:
        for writer in writers.values():
            writer.discard()
        for rows_of_split in held.values():
            rows_of_split.close()


class _Rows:
    """The rows of one Parquet file, some after the other."""

    def __init__(self, store: Store, name: str):
        self._handle = store.open(name)
        self._file = pq.ParquetFile(self._handle)
        self.schema = self._file.schema_arrow
        self._batches: Iterator[pa.RecordBatch] = self._file.iter_batches(COPIED_ROWS)
        self._left: pa.RecordBatch | None = None

    def take(self, count: int) -> pa.Table:
        """The next ``count`` rows, or all that are left."""
        pieces = []
        while count:
            if self._left is None or not self._left.num_rows:
                self._left = next(self._batches, None)
            if self._left is None:
                break
            piece = self._left.slice(0, count)
            self._left = self._left.slice(piece.num_rows)
            count -= piece.num_rows
            pieces.append(piece)
        return pa.Table.from_batches(pieces, self.schema)

    def close(self) -> None:
        self._file.close()
        self._handle.close()


def _interleaved(held: Mapping[str, _Rows], verdicts: np.ndarray) -> pa.Table:
    """The next rows of both splits in the order of the input, as their verdicts say."""
    places = [np.flatnonzero(verdicts == verdict) for verdict in held]
    tables = [rows.take(len(at)) for rows, at in zip(held.values(), places, strict=True)]
    together = pa.concat_tables(tables)
    order = np.argsort(np.concatenate(places), kind="stable")
    return together.take(pa.array(order)) if len(order) == together.num_rows else together


def _check_same(rows: pa.Table, ids: pa.ChunkedArray, verdicts: np.ndarray) -> None:
    """See that rows are those that the score rows name.

    Raises:
        RunError: they are not.
    """
    expected = ids.filter(pa.array(verdicts != REJECTED)).to_pylist()
    if rows["sample_id"].to_pylist() != expected:
        raise RunError(
            "the splits do not hold the samples that scores/ says; nothing was changed, run "
            "freqsan report on it"
        )


def _written(
    staged: Store, name: str, schema: pa.Schema, batches: Sequence[pa.RecordBatch]
) -> FileFacts:
    writer = RowWriter(staged, name, schema)
    try:
        for batch in batches:
            writer.write(batch)
        writer.finish()
        return writer.publish()
    finally:
        writer.discard()
