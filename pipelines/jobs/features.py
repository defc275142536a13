"""``features``: the DCT features that the detector sees, to Parquet, in batches."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from detector.bundled import DEFAULT_DETECTOR
from detector.inputs import Prepared, Tiles
from pipelines.jobs.ingest import NoOptions
from pipelines.judging.policies import detector_inputs
from pipelines.runs import layout
from pipelines.runs.job import Job, Settings
from pipelines.runs.manifest import Manifest
from pipelines.runs.output import Output
from pipelines.runs.passes import Finished, Pass, Step
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.sources.base import Samples, Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.record import Record
from sanitizer.records import REJECT_SCHEMA


@dataclass(frozen=True)
class FeatureCounts(Record):
    """What a run of ``features`` amounts to."""

    read: int = 0  #: samples
    tiles: int = 0  #: rows of features
    rejected: int = 0  #: samples that cannot be judged


@dataclass(frozen=True)
class FeatureTally(Record):
    """What a shard of ``features`` counts."""

    tiles: int
    reject_kinds: dict[str, int]


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
class FeatureStep:
    """Write a shard's features, and its rejects."""

    image_column: str
    inputs: Tiles

    def setup(self, workers: int) -> None:
        pass

    def run(self, task: ShardTask) -> tuple[int, FeatureTally]:
        features = task.open(layout.FEATURES, feature_schema(self.inputs))
        rejects = task.open(layout.REJECTED, REJECT_SCHEMA)
        rows, kinds = 0, Counter[str]()
        for batch, rejected, reject_kinds, count in task.map(self.transform):
            features.write(batch)
            rejects.write(rejected)
            kinds.update(reject_kinds)
            rows += count
        task.finish()
        return rows, FeatureTally(features.rows, dict(sorted(kinds.items())))

    def transform(self, samples: Samples) -> tuple[pa.RecordBatch, pa.RecordBatch, list[str], int]:
        """Features of a batch of images, rejects, the rejects' kinds, and the number of rows."""
        encoded = encoded_images(samples.batch, self.image_column)
        prepared = [self.inputs.prepare(data) for data in encoded]
        ids = sample_ids(samples.batch)
        rejected = [
            (
                {"sample_id": sample_id, "source": file, "bytes": data, "reason": str(image.error)},
                image.error.kind,
            )
            for sample_id, file, data, image in zip(
                ids, samples.files, encoded, prepared, strict=True
            )
            if image.error is not None
        ]
        rejects = pa.RecordBatch.from_pylist([row for row, _ in rejected], schema=REJECT_SCHEMA)
        return self._features(ids, prepared), rejects, [kind for _, kind in rejected], len(ids)

    def _features(self, ids: list[str], prepared: list[Prepared]) -> pa.RecordBatch:
        from sanitizer.dct import dct2  # scipy takes half a second to load

        def tiles() -> Iterator[tuple[str, int, np.ndarray]]:
            for sample_id, image in zip(ids, prepared, strict=True):
                for number, tile in enumerate(image.parts if image.parts is not None else ()):
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
class FeaturePass(Pass[None, FeatureTally, tuple[int, FeatureTally]]):
    """Transform all images."""

    name: ClassVar[str] = "features"
    counts: ClassVar[type[Record]] = FeatureTally
    threads_a_shard: ClassVar[int] = 4

    source: Source
    inputs: Tiles
    doing: str = "transforming"

    def step(self, given: None) -> Step[FeatureTally]:
        return FeatureStep(self.source.image_column, self.inputs)

    def merge(self, given: None, finished: Finished[FeatureTally]) -> tuple[int, FeatureTally]:
        kinds = Counter[str]()
        for tally in finished.counts:
            kinds.update(tally.reject_kinds)
        tiles = sum(tally.tiles for tally in finished.counts)
        return finished.rows, FeatureTally(tiles, dict(sorted(kinds.items())))


def features(input: str | Path, output: str | Path, **settings: Any) -> FeatureManifest:
    """Write the DCT coefficients of every image's tiles; arguments and errors as for ``ingest``."""
    chosen = Settings(**settings)
    source = chosen.open(input)

    def finish(
        written: Output, common: Manifest, made: tuple[int, FeatureTally]
    ) -> FeatureManifest:
        rows, tally = made
        counts = FeatureCounts(rows, tally.tiles, sum(tally.reject_kinds.values()))
        return FeatureManifest.of(common, counts=counts, rejected_by_reason=tally.reject_kinds)

    return Job(
        name="features",
        source=source,
        store=Store.at(output),
        passes=[FeaturePass(source, detector_inputs(DEFAULT_DETECTOR))],
        options=NoOptions(),
        finish=finish,
        manifest=FeatureManifest,
    ).run(chosen)
