"""The last pass of ``clean`` and ``score``: verdicts from scores, and rows to where they belong.

Nothing is decoded: the images go, bit for bit, to ``clean``, ``poisoned`` or ``rejected``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from detector.bulk import OwnScale
from detector.scores import Scores
from pipelines.judging.classes import read_views
from pipelines.judging.decided import Decided, Scanned
from pipelines.judging.score import ScorePass, label_type
from pipelines.judging.signatures import KnownTrigger
from pipelines.runs import layout
from pipelines.runs.passes import Finished, Pass, Step
from pipelines.runs.shards import RowWriter, ShardTask
from pipelines.sources.base import Samples, Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.errors import RunError
from sanitizer.policy import Decision
from sanitizer.record import Record
from sanitizer.records import (
    CLEAN,
    NO_FINDING,
    POISONED,
    REJECT_SCHEMA,
    REJECTED,
    Reject,
    ScoredSample,
    ScoreRow,
    score_schema,
    to_batch,
)
from sanitizer.scan.finding import Finding
from sanitizer.summary import ScanFacts, Tally, label_key

#: Rows of a batch that is copied; nothing is decoded, so it may be large.
COPIED_ROWS = 2048


@dataclass(frozen=True)
class Carried:
    """How surely an image carries a trigger that is known, at the most."""

    log_odds: float  #: of carrying it
    finding: Finding | None  #: the surest; None where it more likely carries none
    searched: bool  #: whether its class was searched; triggers of other sets alone clear nobody


def strongest(
    images: int, found: Iterable[tuple[Finding, np.ndarray]], *, searched: bool
) -> list[Carried]:
    """How surely each image of a class carries what was looked for in it.

    Args:
        images: of the class, or some of them.
        found: each finding, with the (images,) log odds of carrying it.
        searched: whether the class was searched for triggers of its own.
    """
    carried = [Carried(NO_FINDING, None, searched)] * images
    for finding, log_odds in found:
        for place, own in enumerate(np.clip(log_odds, NO_FINDING, -NO_FINDING).tolist()):
            if own > carried[place].log_odds:
                carried[place] = Carried(own, finding if own > 0 else None, searched)
    return carried


def verdict_rows(
    samples: Sequence[ScoredSample],
    carried: Mapping[int, Carried],
    decision: Decision,
    detector: str,
) -> list[ScoreRow]:
    """The score rows of samples, with their verdicts.

    Args:
        samples: of a shard, in order.
        carried: what is known of each sample in which triggers were looked for, by its place.
        decision: on the whole set.
        detector: identity of the detector that scored them.
    """
    p_values = np.array([s.p_value for s in samples if s.p_value is not None], np.float64)
    suspicious = iter(decision.poisoned(p_values).tolist())
    return [
        _row(
            sample,
            next(suspicious) if sample.p_value is not None else None,
            carried.get(place),
            detector,
        )
        for place, sample in enumerate(samples)
    ]


def _row(
    sample: ScoredSample, suspicious: bool | None, carried: Carried | None, detector: str
) -> ScoreRow:
    """A score row.

    Args:
        suspicious: what was decided by its score; None where it has none.
        carried: None where no trigger was looked for in it.
    """
    verdict, words = _verdict(sample, suspicious, carried)
    if verdict == REJECTED:
        carried = None
    finding = None if carried is None else carried.finding
    return ScoreRow(
        sample_id=sample.sample_id,
        source=sample.source,
        label=sample.label,
        width=sample.width,
        height=sample.height,
        format=sample.format,
        content_sha256=sample.content_sha256,
        score=sample.score,
        p_value=sample.p_value,
        scan_log_odds=None if carried is None else carried.log_odds,
        finding=None if finding is None else finding.name,
        verdict=verdict,
        reason=words,
        detector=detector,
    )


def _verdict(
    sample: ScoredSample, suspicious: bool | None, carried: Carried | None
) -> tuple[str, str]:
    """The verdict of a sample, and its reason."""
    finding = None if carried is None else carried.finding
    said = []
    if carried is not None and finding is not None:
        said.append(shares(finding, carried.log_odds))
    if sample.p_value is not None and (suspicious or not finding):
        said.append(
            reason(bool(suspicious), sample.as_high, sample.compared)
            if sample.as_high is not None and sample.compared is not None
            else reason_by_set(sample.p_value)
        )
    if suspicious is None and finding is None:
        if carried is None or not carried.searched:
            return REJECTED, sample.reject_reason or ""
        why = f" ({sample.reject_reason})" if sample.reject_reason else ""  # none: no detector
        said.append(f"judged by the scan of its class alone{why}")
    return POISONED if suspicious or finding else CLEAN, "; ".join(said)


def shares(finding: Finding, log_odds: float) -> str:
    """In words, that an image carries a trigger."""
    images = finding.images
    return (
        f"carries a pattern that {images.count:,} of {images.of:,} {finding.whose} share; "
        f"probability {_probability(log_odds)}"
    )


def _probability(log_odds: float) -> str:
    """A probability, never rounded to certainty.

    >>> _probability(2.0), _probability(9.0)
    ('0.881', 'above 0.999')
    """
    probability = 1 / (1 + math.exp(-log_odds))
    return "above 0.999" if probability >= 0.9995 else f"{probability:.3f}"


def reason(poisoned: bool, as_high: int, compared: int) -> str:
    """What decided, in words: ``as_high`` of so many clean images score as high.

    >>> reason(True, 0, 1500), reason(True, 3, 1500)
    ('none of 1,500 clean images score as high', 'only 3 of 1,500 clean images score as high')
    """
    count = f"{'only ' if poisoned else ''}{as_high:,}" if as_high else "none"
    return f"{count} of {compared:,} clean images score{'s' if as_high == 1 else ''} as high"


def reason_by_set(p_value: float) -> str:
    """What decided, in words, where the bulk of the set tells how clean images score.

    >>> reason_by_set(0.0042), reason_by_set(0.999)
    ('0.42 % of clean images of this set are expected to score as high', \
'100 % of clean images of this set are expected to score as high')
    """
    percent = float(f"{100 * p_value:.2g}")  # two digits, and yet no 1e+02
    return f"{percent:g} % of clean images of this set are expected to score as high"


def judged_by(own: OwnScale, scored: pa.Table) -> list[ScoredSample]:
    """Samples, with the p-values by the set's own scores where these judge.

    Args:
        scored: of :func:`sanitizer.records.scored_schema`, in any order of columns.
    """
    told = {each.name: scored[each.name].to_pylist() for each in fields(ScoredSample)}
    judged = scored["p_value"].is_valid()
    of_judged = scored.filter(judged)
    stored, *of_kind = (
        of_judged[name].to_numpy() for name in ("p_value", "score", "parts", "encoding")
    )
    scores = Scores(*of_kind)
    p_values, covered = own.p_values(scores, stored), own.covers(scores)
    places = np.flatnonzero(judged.to_numpy())[covered]
    for place, p_value in zip(places.tolist(), p_values[covered].tolist(), strict=True):
        told["p_value"][place] = p_value
        told["as_high"][place] = told["compared"][place] = None
    return list(map(ScoredSample, *told.values()))


@dataclass
class VerdictStep(Step[Tally]):
    """Write a shard's score rows."""

    label_type: pa.DataType
    own: OwnScale  #: what judges those kinds of which the set has enough
    decision: Decision
    scanned: Scanned
    known: Sequence[KnownTrigger]  #: from other sets, looked for in all images
    detector: str  #: identity

    def run(self, task: ShardTask) -> tuple[int, Tally]:
        samples, rows = self.write_scores(task)
        task.finish()
        return len(rows), self.tally(samples, rows)

    def write_scores(self, task: ShardTask) -> tuple[list[ScoredSample], list[ScoreRow]]:
        """The shard's samples and their score rows, which are written and not yet published."""
        scored = task.artefact_of(ScorePass.name)
        carried = self._carried(task)
        samples = [
            self._unsearched(sample)
            if sample.p_value is None and sample.reject_kind is None and place not in carried
            else sample
            for place, sample in enumerate(judged_by(self.own, scored))
        ]
        rows = verdict_rows(samples, carried, self.decision, self.detector)
        schema = score_schema(self.label_type)
        task.open(layout.SCORES, schema).write(to_batch(rows, schema))
        return samples, rows

    def _unsearched(self, sample: ScoredSample) -> ScoredSample:
        """A sample that only a scan could have judged, with the reason why none did."""
        words = self.scanned.why_not[label_key(sample.label)]
        return replace(sample, reject_kind=words, reject_reason=words)

    def _carried(self, task: ShardTask) -> dict[int, Carried]:
        """What is known of each sample in which triggers were looked for, by its place."""
        if not self.scanned.labels and not self.known:
            return {}
        carried: dict[int, Carried] = {}
        for label, images in read_views(task.store, ScorePass.name, task.index):
            searched = label in self.scanned.labels
            if not searched and not self.known:
                continue
            found = self.scanned.of_shard(task.index, label)
            found += [(one.named, one.log_odds(images.seen)) for one in self.known]
            known = strongest(len(images.rows), found, searched=searched)
            carried |= zip(images.rows.tolist(), known, strict=True)
        return carried

    def tally(self, samples: Sequence[ScoredSample], rows: Sequence[ScoreRow]) -> Tally:
        """What the shard amounts to."""
        return Tally.of(
            pa.array([row.verdict for row in rows], pa.string()),
            np.array([row.score for row in rows], np.float64),
            pa.array([row.label for row in rows], self.label_type),
            [
                sample.reject_kind
                for sample, row in zip(samples, rows, strict=True)
                if row.verdict == REJECTED and sample.reject_kind is not None
            ],
            [row.finding for row in rows if row.finding],
        )


@dataclass
class SplitStep(VerdictStep):
    """Write a shard's score rows, and its samples to where they belong."""

    schema: pa.Schema = field(kw_only=True)  #: of the input
    image_column: str = field(kw_only=True)

    def run(self, task: ShardTask) -> tuple[int, Tally]:
        samples, rows = self.write_scores(task)
        splits = {
            CLEAN: task.open(layout.CLEAN, self.schema),
            POISONED: task.open(layout.POISONED, self.schema),
        }
        rejects = task.open(layout.REJECTED, REJECT_SCHEMA)
        ids: list[str] = []
        for batch in task.samples(COPIED_ROWS):
            own = rows[len(ids) : len(ids) + len(batch)]
            ids += sample_ids(batch.batch)
            if len(own) != len(batch):
                break  # the input has changed, as is told below
            verdicts = np.array([row.verdict for row in own])
            for verdict, split in splits.items():
                split.write(batch.batch.filter(pa.array(verdicts == verdict)))
            rejects.write(self._rejects(batch, own))
        task.finish()
        self._check_conserved(task, ids, rows, (*splits.values(), rejects))
        return len(rows), self.tally(samples, rows)

    def _rejects(self, samples: Samples, rows: Sequence[ScoreRow]) -> pa.RecordBatch:
        if all(row.verdict != REJECTED for row in rows):
            return to_batch([], REJECT_SCHEMA)
        images = encoded_images(samples.batch, self.image_column)
        rejected = [
            Reject(row.sample_id, row.source, data, row.reason)
            for row, data in zip(rows, images, strict=True)
            if row.verdict == REJECTED
        ]
        return to_batch(rejected, REJECT_SCHEMA)

    def _check_conserved(
        self, task: ShardTask, read: list[str], rows: list[ScoreRow], writers: Sequence[RowWriter]
    ) -> None:
        """Nothing lost, nothing twice: the ids read are the ids written, read back from disk.

        Raises:
            RunError: they differ.
        """
        file = rows[0].source if rows else f"shard {task.index}"
        if len(set(read)) != len(read):
            twice = next(i for i in read if read.count(i) > 1)
            raise RunError(f"{file}: the sample id {twice!r} occurs twice; ids must be unique")
        scored = [row.sample_id for row in rows]
        if read != scored:
            raise RunError(
                f"{file}: {len(read)} samples were read to be split and {len(scored)} to be "
                "scored, or with other ids; the input has changed, start again with --overwrite"
            )
        written = [i for writer in writers for i in writer.column("sample_id")]
        if sorted(read) != sorted(written):
            raise RunError(
                f"{file}: {len(read)} samples were read but clean, poisoned and rejected together "
                f"hold {len(written)} rows or other ids; the disk or memory may be faulty, run "
                "the command again"
            )


@dataclass(frozen=True)
class Outcome:
    """What was decided, and how many samples there are of each kind."""

    decided: Decided
    tally: Tally

    @property
    def decision(self) -> Decision:
        return self.decided.decision

    def scan_facts(self) -> ScanFacts:
        """What is told of the scan."""
        return self.decided.scanned.facts(self.decided.classes, self.tally)


@dataclass
class VerdictPass(Pass[Decided, Tally, Outcome]):
    """Write what was decided of each sample; with ``split`` also the samples themselves."""

    name: ClassVar[str] = "split"
    counts: ClassVar[type[Record]] = Tally

    source: Source
    detector: str  #: identity
    split: bool
    known: Sequence[KnownTrigger] = ()  #: from other sets, looked for in all images
    doing: str = "splitting"

    def step(self, given: Decided) -> Step[Tally]:
        decided = (given.scored.own, given.decision, given.scanned)
        kind, source = label_type(self.source), self.source
        if not self.split:
            return VerdictStep(kind, *decided, self.known, self.detector)
        return SplitStep(
            *(kind, *decided, self.known, self.detector),
            schema=source.schema,
            image_column=source.image_column,
        )

    def merge(self, given: Decided, finished: Finished[Tally]) -> Outcome:
        return Outcome(given, Tally.total(finished.counts))
