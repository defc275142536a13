"""The last pass of ``clean`` and ``score``: verdicts from scores, and rows to where they belong.

Nothing is decoded: the images go, bit for bit, to ``clean``, ``poisoned`` or ``rejected``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipelines.judging.score import Decided, ScorePass, label_type
from pipelines.runs import layout
from pipelines.runs.passes import Finished, Pass, Step
from pipelines.runs.shards import RowWriter, ShardTask
from pipelines.sources.base import Samples, Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.errors import RunError
from sanitizer.fit import CalibrationFit, fit
from sanitizer.policy import Decision
from sanitizer.record import Record
from sanitizer.records import (
    CLEAN,
    POISONED,
    REJECT_SCHEMA,
    REJECTED,
    Reject,
    ScoredSample,
    ScoreRow,
    score_schema,
    to_batch,
)
from sanitizer.summary import Tally

#: Rows of a batch that is copied; nothing is decoded, so it may be large.
COPIED_ROWS = 2048


def verdict_rows(
    samples: Sequence[ScoredSample], decision: Decision, detector: str
) -> list[ScoreRow]:
    """The score rows of samples, with their verdicts.

    Args:
        samples: of a shard, in order.
        decision: on the whole set.
        detector: identity of the detector that scored them.
    """
    p_values = np.array([s.p_value for s in samples if s.p_value is not None], np.float64)
    poisoned = iter(decision.poisoned(p_values).tolist())
    return [
        _row(s, REJECTED, s.reject_reason, detector)
        if s.as_high is None or s.compared is None
        else _row(s, *_verdict(next(poisoned), s.as_high, s.compared), detector)
        for s in samples
    ]


def _verdict(poisoned: bool, as_high: int, compared: int) -> tuple[str, str]:
    """The verdict of a judged sample, and its reason."""
    return POISONED if poisoned else CLEAN, reason(poisoned, as_high, compared)


def reason(poisoned: bool, as_high: int, compared: int) -> str:
    """What decided, in words: ``as_high`` of so many clean images score as high.

    >>> reason(True, 0, 1500), reason(True, 3, 1500)
    ('none of 1,500 clean images score as high', 'only 3 of 1,500 clean images score as high')
    """
    count = f"{'only ' if poisoned else ''}{as_high:,}" if as_high else "none"
    return f"{count} of {compared:,} clean images score{'s' if as_high == 1 else ''} as high"


def _row(sample: ScoredSample, verdict: str, reason: str | None, detector: str) -> ScoreRow:
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
        verdict=verdict,
        reason=reason or "",
        detector=detector,
    )


@dataclass
class VerdictStep(Step[Tally]):
    """Write a shard's score rows."""

    label_type: pa.DataType
    decision: Decision
    detector: str  #: identity

    def run(self, task: ShardTask) -> tuple[int, Tally]:
        samples, rows = self.write_scores(task)
        task.finish()
        return len(rows), self.tally(samples, rows)

    def write_scores(self, task: ShardTask) -> tuple[list[ScoredSample], list[ScoreRow]]:
        """The shard's samples and their score rows, which are written and not yet published."""
        scored = task.artefact_of(ScorePass.name)
        samples = [ScoredSample(**row) for row in scored.to_pylist()]
        rows = verdict_rows(samples, self.decision, self.detector)
        schema = score_schema(self.label_type)
        task.open(layout.SCORES, schema).write(to_batch(rows, schema))
        return samples, rows

    def tally(self, samples: Sequence[ScoredSample], rows: Sequence[ScoreRow]) -> Tally:
        """What the shard amounts to."""
        return Tally.of(
            pa.array([row.verdict for row in rows], pa.string()),
            np.array([row.score for row in rows], np.float64),
            pa.array([row.label for row in rows], self.label_type),
            [sample.reject_kind for sample in samples if sample.reject_kind is not None],
        )


@dataclass
class SplitStep(VerdictStep):
    """Write a shard's score rows, and its samples to where they belong."""

    schema: pa.Schema  #: of the input
    image_column: str

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

    def fit(self, calibration_images: int) -> CalibrationFit:
        """Whether the calibration fits the set.

        Args:
            calibration_images: clean images in the smallest group that decided.
        """
        classes = self.tally.per_class()
        removed = np.array([one.poisoned for one in classes], np.int64)
        judged = removed + np.array([one.clean for one in classes], np.int64)
        return fit(removed, judged, self.decided.shape, self.decision.limit, calibration_images)


@dataclass
class VerdictPass(Pass[Decided, Tally, Outcome]):
    """Write what was decided of each sample; with ``split`` also the samples themselves."""

    name: ClassVar[str] = "split"
    counts: ClassVar[type[Record]] = Tally

    source: Source
    detector: str  #: identity
    split: bool
    doing: str = "splitting"

    def step(self, given: Decided) -> Step[Tally]:
        kind, decision, source = label_type(self.source), given.decision, self.source
        if not self.split:
            return VerdictStep(kind, decision, self.detector)
        return SplitStep(kind, decision, self.detector, source.schema, source.image_column)

    def merge(self, given: Decided, finished: Finished[Tally]) -> Outcome:
        return Outcome(given, Tally.total(finished.counts))
