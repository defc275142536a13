"""``apply``: move samples of a finished run between its splits, as a reviewer has decided."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.jobs.clean import CleanManifest, cleaned_card
from pipelines.jobs.report import rebuild, written_by_another_version
from pipelines.reviewing.audit import Audited, Review, review_facts
from pipelines.reviewing.decisions import Decisions
from pipelines.reviewing.moving import revise, shards_of
from pipelines.runs import layout
from pipelines.runs.amending import settle, staged
from pipelines.runs.checksums import changes, checksum, seal
from pipelines.runs.earlier import Finished, read_finished
from pipelines.runs.manifest import ShardFacts
from pipelines.runs.output import not_what_was_written
from pipelines.runs.progress import Progress
from pipelines.runs.public import public
from pipelines.runs.reopening import reopened
from pipelines.runs.store import Store, as_json
from sanitizer.errors import InputError, RunError
from sanitizer.record import Record
from sanitizer.records import CLEAN, POISONED, REVIEW
from sanitizer.summary import Counts, Summary


@dataclass(frozen=True)
class Applied(Record):
    """What a review has made of a run."""

    decided: int  #: samples on which there is a decision that is new
    moved_to_clean: int
    moved_to_poisoned: int
    counts: Counts  #: since then
    sha256: str  #: of the manifest, which has changed
    page: str  #: address of the report, made anew


@public
def apply(
    output: str | Path, decisions: str | Path | Mapping[str, str], *, quiet: bool = False
) -> Applied:
    """Move samples of a finished ``clean`` run between its splits, bytes untouched.

    Every sample that is decided on gets an audit row in ``scores/`` and in the manifest, also
    where the decision is what freqsan had said. The report is made anew.

    Args:
        output: of ``clean``.
        decisions: a CSV file with the columns ``sample_id``, ``decision`` (``keep`` or
            ``remove``) and, if you like, ``why``; or decisions by ``sample_id``.
        quiet: no progress.

    Returns:
        What was changed.

    Raises:
        InputError: no finished run, or a decision that is none or on no sample of it: then
            nothing was changed.
        RunError: what is on disk is no longer what was written, or a disk is full. What was
            committed by then is carried to its end by the next command on ``output``.
    """
    asked = Decisions.of(decisions)
    if not asked.by_id:
        raise InputError(f"{asked.source}: holds no decision; write keep or remove beside an id")
    store = Store.at(output)
    with reopened(store) as finished:
        audited = _amend(store, finished, asked, Progress("moving", unit="shards", quiet=quiet))
        settle(store)
        amended = read_finished(store)
        assert amended is not None  # there was one, or it was just committed
        if audited:
            rebuild(store, amended)
    manifest = CleanManifest.from_json(amended.json)
    return Applied(
        decided=len(audited),
        moved_to_clean=sum(one.before == POISONED and one.after == CLEAN for one in audited),
        moved_to_poisoned=sum(one.before == CLEAN and one.after == POISONED for one in audited),
        counts=manifest.counts,
        sha256=manifest.sha256,
        page=store.locate(layout.PAGE),
    )


def _amend(
    store: Store, finished: Finished, decisions: Decisions, progress: Progress
) -> tuple[Audited, ...]:
    """Write all that changes beside what is there, the manifest last.

    Returns:
        The samples that were decided on, but where the last review had decided the same.

    Raises:
        InputError: a decision is on no sample of the run, or another version wrote it.
        RunError: a file that is to change is no longer what was written.
        OSError: a file cannot be read or written.
    """
    try:
        manifest = CleanManifest.from_json(finished.json)
        summary = Summary.from_json(store.read_json(layout.SUMMARY))
    except ValueError as error:
        raise written_by_another_version(store, error) from error
    shards = list(manifest.shards)
    concerned = shards_of(store, len(shards), decisions)
    read = {name: file for shard in concerned for name, file in shards[shard].files.items()}
    if changed := changes(store, read | manifest.files):
        raise RunError(not_what_was_written(store, changed))
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    new, revised = staged(store), []
    progress.start(total=len(concerned))
    for shard in concerned:
        revised.append(revise(store, new, shard, len(shards), decisions, at))
        shards[shard] = ShardFacts(shard, shards[shard].files | revised[-1].files)
        progress.advance(1)
    progress.finish()
    samples = tuple(one for each in revised for one in each.audited)
    if not samples:
        return ()  # nothing was committed: what was written beside the old files goes
    reviews = (*manifest.reviews, Review(REVIEW, at, decisions.source, samples))
    summary = summary.reviewed([m for each in revised for m in each.moved], review_facts(reviews))
    with store.open(layout.CLEAN.name(0, len(shards))) as file:
        schema = pq.read_schema(file)
    written = {
        layout.SUMMARY: as_json(summary.to_json()),
        layout.CARD: cleaned_card(summary, shards, schema),
    }
    for name, data in written.items():
        new.write(name, data)
    manifest = replace(
        manifest,
        shards=tuple(shards),
        counts=summary.counts,
        reviews=reviews,
        files=manifest.files | {name: checksum(data) for name, data in written.items()},
    )
    new.write_json(layout.MANIFEST, seal(manifest.to_json()))
    return samples
