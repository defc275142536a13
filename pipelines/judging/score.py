"""The first pass of ``clean`` and ``score``: read, decode once, score; nothing is decided.

Every shard leaves a row for each sample: what the detector says of it. When all are there,
the policy sees the p-values of the whole set and decides.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.calibration import Calibration
from detector.inputs import Prepared
from detector.model import Detector
from pipelines.judging.calibration import Size, load_detector
from pipelines.judging.classes import Classes, Views
from pipelines.judging.decided import Decided, Scanned, Scored
from pipelines.runs import threads
from pipelines.runs.passes import Finished, NoCounts, Pass, Step
from pipelines.runs.shards import ShardTask
from pipelines.sources.base import Samples, Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.images import Header, ImageError, decode
from sanitizer.policy import ROUNDING, Policy
from sanitizer.record import Record
from sanitizer.records import CLEAN, POISONED, ScoredSample, scored_schema, to_batch
from sanitizer.scan.canonical import Compact
from sanitizer.summary import label_counts


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


@dataclass(frozen=True)
class Scorer:
    """What scores the images of a run, as workers are told."""

    detector: str  #: bundled name, or absolute directory
    device: str  #: that all workers score on
    calibration: Calibration

    def load(self) -> Detector:
        """The detector, read once in a process."""
        return load_detector(self.detector, self.device)


@dataclass
class ScoreStep(Step[NoCounts]):
    """Look at each sample of a shard once, and leave a row for it."""

    image_column: str
    label_column: str | None
    schema: pa.Schema  #: of what is left
    scorer: Scorer | None  #: None: images are only kept for the scan
    scans: bool  #: whether they are kept for it

    def setup(self, workers: int) -> None:
        threads.share_cores(workers)
        if self.scorer is not None:
            self.scorer.load()

    def run(self, task: ShardTask) -> tuple[int, NoCounts]:
        artefact = task.open_artefact(self.schema)
        views = Views(task) if self.scans else None
        for rows, images in task.map(self.score):
            artefact.write(to_batch(rows, self.schema))
            if views is not None:
                views.add(rows, images)
        if views is not None:
            views.write()
        task.finish()
        return artefact.rows, NoCounts()

    def score(self, samples: Samples) -> tuple[list[ScoredSample], list[Compact | None]]:
        """Score a batch; also its images as the scan sees them, None where there is none."""
        batch = samples.batch
        encoded = encoded_images(batch, self.image_column)
        detector = None if self.scorer is None else self.scorer.load()
        looked_at = [
            look_at(samples.unread.get(row, data), detector, scans=self.scans)
            for row, data in enumerate(encoded)
        ]
        prepared = [one.prepared for one in looked_at]
        if self.scorer is None or detector is None:
            assessed = [Assessment(None, None, None, None, one.error) for one in prepared]
        else:
            assessed = assess(prepared, detector, self.scorer.calibration)
        labels = (
            [None] * len(samples)
            if self.label_column is None
            else batch.column(self.label_column).to_pylist()
        )
        rows = [
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
                assessed,
                strict=True,
            )
        ]
        return rows, [one.compact for one in looked_at]


class LookedAt(NamedTuple):
    """An image, ready for the detector and for the scan."""

    prepared: Prepared
    compact: Compact | None  #: None where nothing scans it


def look_at(
    image: bytes | np.ndarray | ImageError | None, detector: Detector | None, *, scans: bool
) -> LookedAt:
    """Decode an image, if need be, and make it ready for what looks at it.

    Args:
        image: encoded, pixels, or why it could not be read.
        detector: None: it is only decoded.
        scans: whether it is kept for the scan, to which no image is too large.
    """
    if detector is not None and not scans:
        return LookedAt(detector.prepare(image), None)
    if isinstance(image, ImageError):
        return LookedAt(Prepared(None, None, image), None)
    header: Header | None = None

    def look(read: Header) -> None:
        nonlocal header
        header = read

    try:
        pixels = image if isinstance(image, np.ndarray) else decode(image, look)
    except ImageError as error:
        # Its traceback and cause would keep the pixels alive.
        error.__cause__ = error.__context__ = None
        return LookedAt(Prepared(header, None, error.with_traceback(None)), None)
    ready = Prepared(None, None, None) if detector is None else detector.prepare(pixels)
    return LookedAt(replace(ready, header=header), Compact.of(pixels))


@dataclass
class ScorePass(Pass[None, NoCounts, Decided]):
    """Score all samples; then the policy decides over all their p-values.

    For the scan it also leaves all images as that sees them.
    """

    name: ClassVar[str] = "score"
    counts: ClassVar[type[Record]] = NoCounts
    threads_a_shard: ClassVar[int] = 4

    source: Source
    scorer: Scorer | None  #: None: images are only kept for the scan
    policy: Policy
    scans: bool
    doing: str = "scoring"

    def step(self, given: None) -> Step[NoCounts]:
        return ScoreStep(
            image_column=self.source.image_column,
            label_column=self.source.label_column,
            schema=scored_schema(label_type(self.source)),
            scorer=self.scorer,
            scans=self.scans,
        )

    def merge(self, given: None, finished: Finished[NoCounts]) -> Decided:
        scored = gathered(finished.artefacts(GATHERED), self.scorer, self.policy.max_clean_loss)
        classes = Classes.gather(finished, self.name) if self.scans else Classes()
        return Decided.of(scored, classes, Scanned(), self.policy)


#: Columns of :func:`sanitizer.records.scored_schema` that the driver looks at.
GATHERED = ["score", "p_value", "parts", "width", "height", "label"]


def gathered(tables: Iterable[pa.Table], scorer: Scorer | None, probed: float) -> Scored:
    """What the driver knows of the scores of all samples.

    Args:
        tables: of some samples each, with the columns ``GATHERED``.
        scorer: what scored them; None: nothing did.
        probed: images with a p-value of at most this are counted in every class.
    """
    per_class: dict[str, list[int]] = {}
    judged = []
    for table in tables:
        table = table.filter(pc.is_valid(table["p_value"]))
        suspicious = pc.less_equal(table["p_value"], probed + ROUNDING)
        verdicts = pc.if_else(suspicious, POISONED, CLEAN)
        for (label, verdict), rows in label_counts(table["label"], verdicts).items():
            of_class = per_class.setdefault(label, [0, 0])
            of_class[0] += rows
            of_class[1] += rows if verdict == POISONED else 0
        judged.append(table.select(GATHERED[:-1]))
    scores, p_values, parts, widths, heights = (
        np.concatenate([table[column].to_numpy() for table in judged]) for column in GATHERED[:-1]
    )
    numbers, first, counts = np.unique(parts, return_index=True, return_counts=True)
    sizes = (numbers, counts, widths[first], heights[first])
    calibration = None if scorer is None else scorer.calibration
    return Scored(
        scores=scores,
        p_values=p_values,
        smallest=0.0 if calibration is None else calibration.smallest_p_value,
        sizes=tuple(map(Size, *(each.tolist() for each in sizes))),
        per_class={label: (images, some) for label, (images, some) in per_class.items()},
        probed=probed,
        calibration_images=0 if calibration is None else calibration.smallest_group,
    )


def label_type(source: Source) -> pa.DataType:
    """The type of the labels in score rows; whole numbers where there are none."""
    if source.label_column is None:
        return pa.int64()
    return source.schema.field(source.label_column).type
