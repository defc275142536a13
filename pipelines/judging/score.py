"""The first pass of ``clean`` and ``score``: read, decode once, score; nothing is decided.

Every shard leaves a row for each sample: what the detector says of it. When all are there,
the policy sees the p-values of the whole set and decides.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from detector.calibration import Calibration
from detector.inputs import Prepared
from detector.model import Detector
from pipelines.judging.calibration import Size, load_detector
from pipelines.runs import threads
from pipelines.runs.passes import Finished, NoCounts, Pass, Step
from pipelines.runs.shards import ShardTask
from pipelines.sources.base import Samples, Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.fit import ScoreShape
from sanitizer.images import ImageError
from sanitizer.policy import Decision, Policy
from sanitizer.record import Record
from sanitizer.records import ScoredSample, scored_schema, to_batch


@dataclass(frozen=True)
class Assessment:
    """What the detector says of one image."""

    score: float | None  #: 0 to 1, higher is more suspicious; None where it cannot be judged
    p_value: float | None  #: conformal, above 0, at most 1; None where it cannot be judged
    as_high: int | None  #: clean images that score as high; None where it cannot be judged
    compared: int | None  #: clean images that it was compared with; None likewise
    error: ImageError | None  #: why it cannot be judged


def assess(
    images: Sequence[Prepared], detector: Detector, calibration: Calibration
) -> list[Assessment]:
    """Score images, in order."""
    errors = [image.error or _uncovered(image, calibration) for image in images]
    scores = detector.score(
        [
            image.parts
            for image, error in zip(images, errors, strict=True)
            if error is None and image.parts is not None
        ]
    )
    p_values = calibration.p_values(scores)
    judged = map(
        Assessment,
        scores.values.tolist(),
        p_values.values.tolist(),
        p_values.as_high.tolist(),
        p_values.compared.tolist(),
        [None] * len(scores.values),
    )
    return [
        next(judged) if error is None else Assessment(None, None, None, None, error)
        for error in errors
    ]


def _uncovered(image: Prepared, calibration: Calibration) -> ImageError | None:
    """The error of an image of a size that no clean image in the calibration has."""
    if image.parts is None or calibration.covers(len(image.parts)):
        return None
    return ImageError(
        "not calibrated",
        "no calibration for images of this size; give --trusted with clean images of this size",
    )


@dataclass
class ScoreStep(Step[NoCounts]):
    """Score a shard, and leave a row for each of its samples."""

    image_column: str
    label_column: str | None
    schema: pa.Schema  #: of what is left
    detector: str  #: bundled name, or absolute directory
    device: str  #: that all workers score on
    calibration: Calibration

    def setup(self, workers: int) -> None:
        threads.share_cores(workers)
        load_detector(self.detector, self.device)

    def run(self, task: ShardTask) -> tuple[int, NoCounts]:
        artefact = task.open_artefact(self.schema)
        for rows in task.map(self.score):
            artefact.write(to_batch(rows, self.schema))
        task.finish()
        return artefact.rows, NoCounts()

    def score(self, samples: Samples) -> list[ScoredSample]:
        """Score a batch."""
        batch = samples.batch
        detector = load_detector(self.detector, self.device)
        encoded = encoded_images(batch, self.image_column)
        prepared = [
            detector.prepare(samples.unread.get(row, data)) for row, data in enumerate(encoded)
        ]
        labels = (
            [None] * len(samples)
            if self.label_column is None
            else batch.column(self.label_column).to_pylist()
        )
        return [
            ScoredSample(
                sample_id=sample_id,
                source=file,
                label=label,
                width=image.header.width if image.header else None,
                height=image.header.height if image.header else None,
                format=image.header.format if image.header else None,
                content_sha256=hashlib.sha256(data).hexdigest() if data else None,
                score=assessed.score,
                p_value=assessed.p_value,
                as_high=assessed.as_high,
                compared=assessed.compared,
                parts=None if image.parts is None or assessed.error else len(image.parts),
                reject_kind=assessed.error.kind if assessed.error else None,
                reject_reason=str(assessed.error) if assessed.error else None,
            )
            for sample_id, file, label, data, image, assessed in zip(
                sample_ids(batch),
                samples.files,
                labels,
                encoded,
                prepared,
                assess(prepared, detector, self.calibration),
                strict=True,
            )
        ]


@dataclass(frozen=True)
class Decided:
    """What was decided of a whole set, how its scores lie, and how large its images are."""

    decision: Decision
    shape: ScoreShape
    sizes: tuple[Size, ...]  #: of the judged images


@dataclass
class ScorePass(Pass[None, NoCounts, Decided]):
    """Score all samples; then the policy decides over all their p-values."""

    name: ClassVar[str] = "score"
    counts: ClassVar[type[Record]] = NoCounts
    threads_a_shard: ClassVar[int] = 4

    source: Source
    detector: str  #: bundled name, or absolute directory
    device: str  #: that all workers score on
    calibration: Calibration
    policy: Policy
    doing: str = "scoring"

    def step(self, given: None) -> Step[NoCounts]:
        return ScoreStep(
            image_column=self.source.image_column,
            label_column=self.source.label_column,
            schema=scored_schema(label_type(self.source)),
            detector=self.detector,
            device=self.device,
            calibration=self.calibration,
        )

    def merge(self, given: None, finished: Finished[NoCounts]) -> Decided:
        columns = ["score", "p_value", "parts", "width", "height"]
        judged = [table.drop_null() for table in finished.artefacts(columns)]
        scores, p_values, parts, widths, heights = (
            np.concatenate([table[column].to_numpy() for table in judged]) for column in columns
        )
        decision = self.policy.fit(p_values, self.calibration.smallest_p_value)
        shape = ScoreShape.of(scores, p_values, decision.limit)
        numbers, first, counts = np.unique(parts, return_index=True, return_counts=True)
        sizes = (numbers, counts, widths[first], heights[first])
        return Decided(decision, shape, tuple(map(Size, *(each.tolist() for each in sizes))))


def label_type(source: Source) -> pa.DataType:
    """The type of the labels in score rows; whole numbers where there are none."""
    if source.label_column is None:
        return pa.int64()
    return source.schema.field(source.label_column).type
