"""``features``: the DCT features that the detector sees, to Parquet, in batches."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from detector.bundled import DEFAULT_DETECTOR
from detector.inputs import Prepared, Tiles
from pipelines.judging.coverage import look_ahead
from pipelines.judging.limits import check_judged, unjudged_limit
from pipelines.judging.policies import detector_inputs
from pipelines.runs import layout
from pipelines.runs.job import Job, NoOptions, Settings
from pipelines.runs.manifest import Manifest
from pipelines.runs.output import Output
from pipelines.runs.passes import Finished, Pass, Step
from pipelines.runs.public import public
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.sources.base import Samples, Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.images import Opened
from sanitizer.record import Record
from sanitizer.records import REJECT_SCHEMA, Reject, to_batch


@dataclass(frozen=True)
class FeatureCounts(Record):
    """What a run of ``features`` amounts to."""

    read: int = 0  #: samples
    tiles: int = 0  #: rows of features
    rejected: int = 0  #: samples that cannot be judged


@dataclass(frozen=True)
class FeatureTally(Record):
    """How many samples and rows of features there are; adds up without regard to order."""

    read: int  #: samples
    tiles: int  #: rows of features
    reject_kinds: dict[str, int]  #: samples that cannot be judged, by kind

    @classmethod
    def total(cls, tallies: Iterable["FeatureTally"]) -> "FeatureTally":
        """The tally of the samples of all tallies."""
        read, tiles, kinds = 0, 0, Counter[str]()
        for tally in tallies:
            read += tally.read
            tiles += tally.tiles
            kinds.update(tally.reject_kinds)
        return cls(read, tiles, dict(sorted(kinds.items())))

    def counts(self) -> FeatureCounts:
        """What a run with this tally amounts to."""
        return FeatureCounts(self.read, self.tiles, sum(self.reject_kinds.values()))


class Transformed(NamedTuple):
    """What a batch of samples becomes."""

    features: pa.RecordBatch  #: of :func:`feature_schema`, a row for each tile
    rejects: pa.RecordBatch  #: of :data:`sanitizer.records.REJECT_SCHEMA`
    tally: FeatureTally


@dataclass(frozen=True, kw_only=True)
class FeatureManifest(Manifest):
    """The manifest of ``features``."""

    counts: FeatureCounts
    rejected_by_reason: dict[str, int]


def feature_schema(inputs: Tiles) -> pa.Schema:
    """One row for each tile: orthonormal DCT-II coefficients, channel by channel, row by row."""
    return pa.schema(
        [
            pa.field("sample_id", pa.string(), nullable=False),
            pa.field("tile", pa.int32(), nullable=False),
            pa.field("dct", pa.list_(pa.float32(), 3 * inputs.side**2), nullable=False),
        ]
    )


@dataclass
class FeatureStep(Step[FeatureTally]):
    """Write a shard's features, and its rejects."""

    image_column: str
    inputs: Tiles

    def run(self, task: ShardTask) -> tuple[int, FeatureTally]:
        features = task.open(layout.FEATURES, feature_schema(self.inputs))
        rejects = task.open(layout.REJECTED, REJECT_SCHEMA)
        tallies = []
        for batch in task.map(self.transform):
            features.write(batch.features)
            rejects.write(batch.rejects)
            tallies.append(batch.tally)
        task.finish()
        tally = FeatureTally.total(tallies)
        return tally.read, tally

    def transform(self, samples: Samples) -> Transformed:
        """Transform a batch of images."""
        encoded = encoded_images(samples.batch, self.image_column)
        prepared = [
            self.inputs.prepare(Opened.of(samples.unread.get(row, data)))
            for row, data in enumerate(encoded)
        ]
        ids = sample_ids(samples.batch)
        rejects = [
            Reject(sample_id, file, data, str(image.error))
            for sample_id, file, data, image in zip(
                ids, samples.files, encoded, prepared, strict=True
            )
            if image.error is not None
        ]
        kinds = Counter(image.error.kind for image in prepared if image.error is not None)
        features = self._features(ids, prepared)
        tally = FeatureTally(len(ids), features.num_rows, dict(kinds))
        return Transformed(features, to_batch(rejects, REJECT_SCHEMA), tally)

    def _features(self, ids: list[str], prepared: list[Prepared]) -> pa.RecordBatch:
        from sanitizer.dct import dct2  # scipy takes half a second to load

        def tiles() -> Iterator[tuple[str, int, np.ndarray]]:
            for sample_id, image in zip(ids, prepared, strict=True):
                for number, tile in enumerate(image.parts.tiles if image.parts else ()):
                    yield sample_id, number, tile

        rows = list(tiles())
        values = dct2(np.stack([row[2] for row in rows])) if rows else np.zeros(0, np.float32)
        schema = feature_schema(self.inputs)
        size = schema.field("dct").type.list_size
        return pa.RecordBatch.from_arrays(
            [
                pa.array([row[0] for row in rows], pa.string()),
                pa.array([row[1] for row in rows], pa.int32()),
                pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), size),
            ],
            schema=schema,
        )


@dataclass
class FeaturePass(Pass[None, FeatureTally, FeatureTally]):
    """Transform all images."""

    name: ClassVar[str] = "features"
    counts: ClassVar[type[Record]] = FeatureTally
    threads_a_shard: ClassVar[int] = 4

    source: Source
    inputs: Tiles
    doing: str = "transforming"

    def step(self, given: None) -> Step[FeatureTally]:
        return FeatureStep(self.source.image_column, self.inputs)

    def merge(self, given: None, finished: Finished[FeatureTally]) -> FeatureTally:
        return FeatureTally.total(finished.counts)


@public
def features(
    input: str | Path,
    output: str | Path,
    *,
    allow_unjudged: bool = False,
    max_unjudged: float | None = None,
    **settings: Any,
) -> FeatureManifest:
    """Write the DCT coefficients of every image's tiles to Parquet.

    Args:
        input: folder of images, Parquet, WebDataset tars, saved dataset or Hub id.
        output: a new or empty directory, or one that holds an unfinished run of the same.
        allow_unjudged: do not raise however few of the images have features.
        max_unjudged: the share of the images that may have none, 0 to 1; None: 0.5.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        The manifest, as written to ``output/manifest.json``.

    Raises:
        InputError: bad usage or input.
        RunError: the run failed; what was finished is kept for the next run.
        UnjudgedError: more than ``max_unjudged`` do not decode, and so have no features; the output
            is complete.
    """
    chosen = Settings(**settings)
    unjudged_at_most = unjudged_limit(max_unjudged, allow_unjudged=allow_unjudged)
    source = chosen.open(input)
    inputs = detector_inputs(DEFAULT_DETECTOR)
    look_ahead(source, quiet=chosen.quiet)

    def finish(written: Output, common: Manifest, tally: FeatureTally) -> FeatureManifest:
        return FeatureManifest.of(
            common, counts=tally.counts(), rejected_by_reason=tally.reject_kinds
        )

    manifest = Job(
        name="features",
        source=source,
        store=Store.at(output),
        passes=[FeaturePass(source, inputs)],
        options=NoOptions(),
        finish=finish,
        manifest=FeatureManifest,
    ).run(chosen)
    return check_judged(manifest, unjudged_at_most)
