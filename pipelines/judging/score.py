"""The first pass of ``clean`` and ``score``: read, decode once, score; nothing is decided.

Every shard leaves a row for each sample: what the detector says of it. When all are there,
the policy sees the p-values of the whole set and decides.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.bulk import SHARES, OwnScale
from detector.calibration import Calibration
from detector.inputs import Prepared
from detector.kinds import in_words
from detector.model import Detector
from detector.scores import Scores
from pipelines.judging.calibration import Size, load_detector
from pipelines.judging.classes import Classes, Views
from pipelines.judging.decided import Decided, Scanned, Scored
from pipelines.runs import threads
from pipelines.runs.passes import Finished, NoCounts, Pass, Step
from pipelines.runs.shards import ShardTask
from pipelines.sources.base import Samples, Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.images import ImageError, Opened
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
    """The error of an image of a kind that no clean image in the calibration has."""
    parts = image.parts
    if parts is None or calibration.covers(len(parts), parts.about.encoding):
        return None
    kind = in_words((len(parts), len(parts)), parts.about.encoding)
    return ImageError(
        "not calibrated",
        f"no calibration for images of this kind ({kind}); give --trusted with clean ones of it",
    )


@dataclass(frozen=True)
class Scorer:
    """What scores the images of a run, as workers are told."""

    detector: str  #: bundled name, or absolute directory
    device: str  #: that all workers score on
    calibration: Calibration
    adapts: bool  #: whether a set with enough images is judged by its own scores

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
                encoding=None
                if image.parts is None or assessed.error
                else image.parts.about.encoding,
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
    opened = Opened.of(image)
    prepared = (
        Prepared(opened.header, None, opened.error)
        if detector is None
        else detector.inputs.prepare(opened)
    )
    seen = Compact.of(opened.pixels) if scans and opened.pixels is not None else None
    return LookedAt(prepared, seen)


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
        tables = partial(finished.artefacts, GATHERED)
        scored = gathered(tables, self.scorer, self.policy.max_clean_loss)
        classes = Classes.gather(finished, self.name) if self.scans else Classes()
        return Decided.of(scored, classes, Scanned(), self.policy)


#: Columns of :func:`sanitizer.records.scored_schema` that the driver looks at.
GATHERED = ["score", "p_value", "parts", "encoding", "width", "height", "label"]


def gathered(
    tables: Callable[[], Iterable[pa.Table]], scorer: Scorer | None, probed: float
) -> Scored:
    """What the driver knows of the scores of all samples.

    Args:
        tables: called once or twice: of some samples each, with the columns ``GATHERED``.
        scorer: what scored them; None: nothing did.
        probed: images with a p-value of at most this are counted in every class.
    """
    judged = [_judged(table).select(GATHERED[:-1]) for table in tables()]
    values, stored, parts, encodings, widths, heights = (
        np.concatenate([table[column].to_numpy() for table in judged]) for column in GATHERED[:-1]
    )
    scores = Scores(values, parts, encodings)
    own, calibration = OwnScale(), None
    if scorer is not None:
        calibration = scorer.calibration
        own = OwnScale.of(calibration, scores) if scorer.adapts else own
    p_values = own.p_values(scores, stored)
    counted = np.stack([parts, encodings], axis=1)
    numbers, first, place, counts = np.unique(
        counted, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    suspicious = np.bincount(place.ravel()[stored <= probed + ROUNDING], minlength=len(numbers))
    sizes = (numbers[:, 0], numbers[:, 1], counts, suspicious, widths[first], heights[first])
    return Scored(
        scores=values,
        p_values=p_values,
        own=own,
        smallest=_smallest(calibration, own),
        sizes=tuple(map(Size, *(each.tolist() for each in sizes))),
        per_class=_per_class(tables(), p_values <= probed + ROUNDING),
        probed=probed,
        calibration_images=0 if calibration is None else calibration.smallest_group,
    )


def _smallest(calibration: Calibration | None, own: OwnScale) -> float:
    """The smallest p-value that an image can get; 0 without a detector."""
    if calibration is None:
        return 0.0
    return float(SHARES[-1]) if own.curves else calibration.smallest_p_value


def _judged(table: pa.Table) -> pa.Table:
    return table.filter(pc.is_valid(table["p_value"]))


def _per_class(tables: Iterable[pa.Table], suspicious: np.ndarray) -> dict[str, tuple[int, int]]:
    """Judged images of each class, and those of them that are suspicious.

    Args:
        suspicious: (n,) bool, of all judged images, in the order of the tables.
    """
    counts: dict[str, list[int]] = {}
    done = 0
    for table in map(_judged, tables):
        verdicts = np.where(suspicious[done : done + len(table)], POISONED, CLEAN)
        done += len(table)
        for (label, verdict), rows in label_counts(table["label"], pa.array(verdicts)).items():
            of_class = counts.setdefault(label, [0, 0])
            of_class[0] += rows
            of_class[1] += rows if verdict == POISONED else 0
    return {label: (images, some) for label, (images, some) in counts.items()}


def label_type(source: Source) -> pa.DataType:
    """The type of the labels in score rows; whole numbers where there are none."""
    if source.label_column is None:
        return pa.int64()
    return source.schema.field(source.label_column).type
