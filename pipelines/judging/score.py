"""The step of ``clean`` and ``score``: read, decode, transform, score, decide, write."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from detector.bundled import address
from detector.calibration import Calibration
from detector.inputs import Prepared, judgeable
from pipelines.batches import encoded_images, map_in_order
from pipelines.judging.calibration import ChosenCalibration, load_detector
from pipelines.runs import threads
from pipelines.runs.shards import ShardFiles
from pipelines.sources.base import Shard, Source
from sanitizer.errors import RunError
from sanitizer.images import ImageError
from sanitizer.policy import Budget
from sanitizer.records import (
    CLEAN,
    POISONED,
    REJECT_SCHEMA,
    REJECTED,
    ScoreRow,
    score_batch,
    score_schema,
)
from sanitizer.summary import empty_summary, merge, shard_summary

if TYPE_CHECKING:
    from detector.model import Detector


@dataclass(frozen=True)
class JudgedBatch:
    """A record batch and what was found out about its rows."""

    batch: pa.RecordBatch
    data: list[bytes | None]  #: encoded images
    rows: list[ScoreRow]
    summary: dict[str, Any]


def judge_batch(
    batch: pa.RecordBatch,
    *,
    source: str,
    image_column: str,
    label_column: str | None,
    detector: "Detector",
    calibration: Calibration,
    policy: Budget,
) -> JudgedBatch:
    """Score and judge every image of a batch."""
    data = encoded_images(batch, image_column)
    prepared = [detector.prepare(d) for d in data]
    ids = batch.column(batch.schema.get_field_index("sample_id")).to_pylist()
    labels = (
        batch.column(batch.schema.get_field_index(label_column)).to_pylist()
        if label_column is not None
        else [None] * len(ids)
    )
    judged = verdicts(prepared, detector, calibration, policy)
    rows = [
        ScoreRow(
            sample_id=sample_id,
            source=source,
            label=label,
            **_properties(one, encoded),
            score=decided.score,
            p_value=decided.p_value,
            verdict=decided.verdict,
            reason=decided.reason,
            detector=detector.identity,
        )
        for sample_id, label, encoded, one, decided in zip(
            ids, labels, data, prepared, judged, strict=True
        )
    ]
    kinds = [decided.kind for decided in judged if decided.kind is not None]
    return JudgedBatch(batch, data, rows, shard_summary(rows, kinds))


@dataclass(frozen=True)
class Verdict:
    """What was decided of one image."""

    verdict: str  #: one of ``sanitizer.records.VERDICTS``
    score: float | None  #: 0 to 1, higher is more suspicious; None if rejected
    p_value: float | None  #: conformal, above 0, at most 1; None if rejected
    reason: str  #: in words, what decided
    kind: str | None = None  #: short category of a reject; None if judged


def verdicts(
    prepared: Iterable[Prepared],
    detector: "Detector",
    calibration: Calibration,
    policy: Budget,
) -> list[Verdict]:
    """Score and judge images, in order."""
    images = [_calibrated(one, calibration) for one in prepared]
    scores = detector.score(judgeable(images))
    p_values = calibration.p_values(scores)
    poisoned = policy.fit(p_values.values).poisoned(p_values.values)
    decided = map(
        _decided, scores.values.tolist(), p_values.values.tolist(), poisoned, p_values.groups
    )
    return [
        next(decided)
        if one.error is None
        else Verdict(REJECTED, None, None, str(one.error), one.error.kind)
        for one in images
    ]


def _decided(score: float, p_value: float, poisoned: bool, group: str) -> Verdict:
    return Verdict(
        POISONED if poisoned else CLEAN, score, p_value, _reason(p_value, bool(poisoned), group)
    )


def _calibrated(one: Prepared, calibration: Calibration) -> Prepared:
    """Rejects images of a size that no clean image in the calibration has."""
    if one.parts is None or calibration.covers(len(one.parts)):
        return one
    error = ImageError(
        "not calibrated",
        f"no calibration for images of {len(one.parts)} parts; give --trusted with clean images "
        "of this size",
    )
    return Prepared(one.header, None, error)


def _properties(one: Prepared, encoded: bytes | None) -> dict[str, Any]:
    return {
        "width": one.header.width if one.header else None,
        "height": one.header.height if one.header else None,
        "format": one.header.format if one.header else None,
        "content_sha256": hashlib.sha256(encoded).hexdigest() if encoded else None,
    }


def _reason(p_value: float, poisoned: bool, group: str) -> str:
    return (
        f"{'only ' if poisoned else ''}{p_value:.2%} of clean images score as high "
        f"(calibration: {group})"
    )


@dataclass
class JudgeStep:
    """Judge a shard; write its score rows and, for ``clean``, its splits and rejects."""

    image_column: str
    label_column: str | None
    detector: str  #: bundled name or absolute path
    calibration: Calibration
    policy: Budget
    workers: int
    schema: pa.Schema  #: of the source
    split: bool  #: False: write score rows only

    @classmethod
    def of(
        cls,
        source: Source,
        detector: str,
        calibration: ChosenCalibration,
        policy: Budget,
        workers: int,
        *,
        split: bool,
    ) -> Self:
        """The step for a source."""
        return cls(
            image_column=source.image_column,
            label_column=source.label_column,
            detector=address(detector),
            calibration=calibration.calibration,
            policy=policy,
            workers=workers,
            schema=source.schema,
            split=split,
        )

    def setup(self) -> None:
        threads.share_cores(self.workers)
        self._detector = load_detector(self.detector)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    def run(self, shard: Shard, files: ShardFiles) -> dict[str, Any]:
        label_type = (
            pa.int64() if self.label_column is None else self.schema.field(self.label_column).type
        )
        scores_schema = score_schema(label_type)
        scores = files.open("scores/part", scores_schema)
        splits = {}
        if self.split:
            splits = {v: files.open(f"data/{v}", self.schema) for v in (CLEAN, POISONED)}
            rejected = files.open("rejected/part", REJECT_SCHEMA)
        summary = empty_summary()
        judge = partial(
            judge_batch,
            source=shard.source,
            image_column=self.image_column,
            label_column=self.label_column,
            detector=self._detector,
            calibration=self.calibration,
            policy=self.policy,
        )
        ids: list[str] = []
        for judged in map_in_order(judge, shard.read(), self.workers):
            ids += [row.sample_id for row in judged.rows]
            scores.write(score_batch(judged.rows, scores_schema))
            verdicts = np.array([row.verdict for row in judged.rows])
            for verdict, part in splits.items():
                part.write(judged.batch.filter(pa.array(verdicts == verdict)))
            if self.split:
                rejected.write(_rejects(judged))
            summary = merge(summary, judged.summary)
        files.finish()
        _check_conserved(shard, ids, scores.column("sample_id"), "the score rows")
        if self.split:
            parts = (*splits.values(), rejected)
            written = [i for part in parts for i in part.column("sample_id")]
            _check_conserved(shard, ids, written, "clean, poisoned and rejected together")
        return summary | {"rows": len(ids)}


def _rejects(judged: JudgedBatch) -> pa.RecordBatch:
    kept = [
        {"sample_id": row.sample_id, "source": row.source, "bytes": data, "reason": row.reason}
        for row, data in zip(judged.rows, judged.data, strict=True)
        if row.verdict == REJECTED
    ]
    return pa.RecordBatch.from_pylist(kept, schema=REJECT_SCHEMA)


def _check_conserved(shard: Shard, read: list[str], written: list[str], where: str) -> None:
    """Nothing lost, nothing twice: the ids read are the ids written, read back from disk.

    Raises:
        RunError: they differ.
    """
    if len(set(read)) != len(read):
        twice = next(i for i in read if read.count(i) > 1)
        raise RunError(f"{shard.source}: the sample id {twice!r} occurs twice; ids must be unique")
    if sorted(read) != sorted(written):
        raise RunError(
            f"{shard.source}: {len(read)} samples were read but {where} hold {len(written)} rows "
            "or other ids; the disk or memory may be faulty, run the command again"
        )
