"""The first pass of ``clean`` and ``score``: read, decode once, score; nothing is decided.

Every shard leaves a row for each sample: what the detector says of it. When all are there,
the policy sees the p-values of the whole set and decides.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detector.bulk import SHARES, OwnScale
from detector.calibration import Calibration, PValues
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
from pipelines.sources.base import BATCH_ROWS, Samples, Source
from pipelines.sources.columns import SAMPLE_ID, encoded_images
from sanitizer.images import ImageError, Opened
from sanitizer.policy import ROUNDING, Policy
from sanitizer.record import Record
from sanitizer.records import CLEAN, POISONED, scored_schema
from sanitizer.scan.canonical import Compact
from sanitizer.summary import label_counts

if TYPE_CHECKING:
    from detector.lending import Lent


@dataclass(frozen=True)
class Assessed:
    """What the detector says of n images, of which it can judge m."""

    errors: list[ImageError | None]  #: of each of the n, why it cannot be judged; None: it is
    judged: np.ndarray  #: (n,) bool, which can be
    scores: Scores  #: of the m
    p_values: PValues  #: of the m, beside the clean images of the calibration

    @classmethod
    def not_at_all(cls, images: Sequence[Prepared]) -> Self:
        """Images that no detector looks at."""
        nothing = np.zeros(0, np.int64)
        p_values = PValues(nothing.astype(np.float64), nothing, nothing)
        errors = [image.error for image in images]
        return cls(errors, np.zeros(len(images), bool), Scores.joined([]), p_values)

    def of_all(self, values: np.ndarray, kind: pa.DataType) -> pa.Array:
        """What is known of the m, (m,), as a column of the n, null where there is nothing."""
        column = np.zeros(len(self.judged), values.dtype)
        column[self.judged] = values
        return pa.array(column, kind, mask=~self.judged)


def assess(images: Sequence[Prepared], detector: Detector, calibration: Calibration) -> Assessed:
    """Score images, in order."""
    errors = _errors(images, calibration)
    scores = detector.score(
        [
            image.parts
            for image, error in zip(images, errors, strict=True)
            if error is None and image.parts is not None
        ]
    )
    judged = np.array([error is None for error in errors], bool)
    return Assessed(errors, judged, scores, calibration.p_values(scores))


def _errors(images: Sequence[Prepared], calibration: Calibration) -> list[ImageError | None]:
    """Why each image cannot be judged, also for want of clean images of its kind.

    None where it can be.
    """
    kinds = [
        None if image.parts is None else (len(image.parts), image.parts.about.encoding)
        for image in images
    ]
    uncovered = {
        kind: _uncovered(*kind)
        for kind in set(kinds)
        if kind is not None and not calibration.covers(*kind)
    }
    return [
        image.error or (None if kind is None else uncovered.get(kind))
        for image, kind in zip(images, kinds, strict=True)
    ]


def _uncovered(parts: int, encoding: int) -> ImageError:
    kind = in_words((parts, parts), encoding)
    return ImageError(
        "not calibrated",
        f"no calibration for images of this kind ({kind}); give --trusted with clean ones of it",
    )


#: Rows that go to a GPU together, which has more to do at a time than a core.
ROWS_ON_GPU = 1024


@dataclass(frozen=True)
class Scorer:
    """What scores the images of a run, as workers are told."""

    detector: str  #: bundled name, or absolute directory
    device: str  #: that all workers score on
    calibration: Calibration
    adapts: bool  #: whether a set with enough images is judged by its own scores
    lent: "Lent | None" = None  #: the GPU of the process that owns it; None: it is this process's

    def load(self) -> Detector:
        """The detector, read once in a process."""
        return load_detector(self.detector, self.device, self.lent)

    @contextmanager
    def lending(self) -> Iterator[Self]:
        """What scores in other processes of this machine, for as long as the context lasts."""
        if self.device == "cpu":
            yield self
            return
        with self.load().lend() as lent:
            yield replace(self, lent=lent)


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
        on_gpu = self.scorer is not None and self.scorer.device != "cpu"
        for scored, images in task.map(self.score, ROWS_ON_GPU if on_gpu else BATCH_ROWS):
            artefact.write(scored)
            if views is not None:
                views.add(scored, images)
        if views is not None:
            views.write()
        task.finish()
        return artefact.rows, NoCounts()

    def score(self, samples: Samples) -> tuple[pa.RecordBatch, list[Compact | None]]:
        """Score a batch.

        Returns:
            A row of ``schema`` for each sample, and its image as the scan sees it, None where there
            is none or nothing scans it.
        """
        batch = samples.batch
        encoded = encoded_images(batch, self.image_column)
        looked_at = look_at(
            [samples.unread.get(row, data) for row, data in enumerate(encoded)],
            None if self.scorer is None else self.scorer.load(),
            scans=self.scans,
        )
        if self.scorer is None:
            assessed = Assessed.not_at_all(looked_at.prepared)
        else:
            assessed = assess(looked_at.prepared, self.scorer.load(), self.scorer.calibration)
        headers = [image.header for image in looked_at.prepared]
        labels = None if self.label_column is None else batch.column(self.label_column)
        kinds = dict(zip(self.schema.names, self.schema.types, strict=True))
        columns = {
            "sample_id": batch.column(SAMPLE_ID),
            "source": samples.files,
            "label": pa.nulls(len(samples), kinds["label"]) if labels is None else labels,
            "width": [header and header.width for header in headers],
            "height": [header and header.height for header in headers],
            "format": [header and header.format for header in headers],
            "content_sha256": [
                hashlib.sha256(data).hexdigest() if data else None for data in encoded
            ],
            "reject_kind": [error and error.kind for error in assessed.errors],
            "reject_reason": [error and str(error) for error in assessed.errors],
        }
        of_judged = {
            "score": assessed.scores.values,
            "p_value": assessed.p_values.values,
            "as_high": assessed.p_values.as_high,
            "compared": assessed.p_values.compared,
            "parts": assessed.scores.parts,
            "encoding": assessed.scores.encodings,
        }
        arrays = [
            assessed.of_all(of_judged[name], kind)
            if name in of_judged
            else pa.array(columns[name], kind)
            for name, kind in kinds.items()
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema), looked_at.compact


class LookedAt(NamedTuple):
    """Images, ready for the detector and for the scan."""

    prepared: list[Prepared]
    compact: list[Compact | None]  #: None where there is no image, or nothing scans it


def look_at(
    images: Iterable[bytes | np.ndarray | ImageError | None],
    detector: Detector | None,
    *,
    scans: bool,
) -> LookedAt:
    """Decode images, if need be, and make them ready for what looks at them.

    Args:
        images: each encoded, pixels, or why it could not be read.
        detector: None: they are only decoded.
        scans: whether they are kept for the scan, to which none is too large.
    """
    prepared: list[Prepared] = []
    compact: list[Compact | None] = []
    # Some at a time: of large photographs the pixels are a thousand times what is kept of them.
    for some in _in_pieces(map(Opened.of, images)):
        if detector is None:
            prepared += [Prepared(one.header, None, one.error) for one in some]
        else:
            prepared += detector.inputs.prepare_all(some)
        compact += [
            Compact.of(one.pixels) if scans and one.pixels is not None else None for one in some
        ]
    return LookedAt(prepared, compact)


#: Pixels that are decoded before they are looked at, about.
_PIXELS_AT_ONCE = 1 << 18


def _in_pieces(images: Iterable[Opened]) -> Iterator[list[Opened]]:
    piece: list[Opened] = []
    pixels = 0
    for image in images:
        piece.append(image)
        pixels += 0 if image.pixels is None else image.pixels.shape[0] * image.pixels.shape[1]
        if pixels >= _PIXELS_AT_ONCE:
            yield piece
            piece, pixels = [], 0
    yield piece


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

    @contextmanager
    def sent(self, given: None) -> Iterator[Step[NoCounts]]:
        if self.scorer is None:
            yield self.step(given)
            return
        with self.scorer.lending() as scorer:
            yield replace(self, scorer=scorer).step(given)

    def step(self, given: None) -> ScoreStep:
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
