"""``features``: the DCT features that the detector sees, to Parquet, in batches."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from detector.bundled import DEFAULT, find
from detector.inputs import Tiles
from detector.storage import load_card
from pipelines.batches import encoded_images, map_in_order
from pipelines.runs.job import Settings, run_job
from pipelines.runs.output import Output, Receipt
from pipelines.runs.shards import ShardFiles
from pipelines.sources.base import Shard
from sanitizer.dct import dct2
from sanitizer.records import REJECT_SCHEMA


def feature_schema(inputs: Tiles) -> pa.Schema:
    """One row for each tile: orthonormal DCT-II coefficients, channel by channel, row by row."""
    return pa.schema(
        [
            pa.field("sample_id", pa.string(), nullable=False),
            pa.field("tile", pa.int32(), nullable=False),
            pa.field("dct", pa.list_(pa.float32(), 3 * inputs.side**2), nullable=False),
        ]
    )


def feature_batches(
    batch: pa.RecordBatch, source: str, image_column: str, inputs: Tiles
) -> tuple[pa.RecordBatch, pa.RecordBatch, list[str]]:
    """Features of a batch of images, rejects, and the rejects' kinds."""
    data = encoded_images(batch, image_column)
    prepared = [inputs.prepare(d) for d in data]
    ids = batch.column(batch.schema.get_field_index("sample_id")).to_pylist()
    tiles = [
        (i, t, p.parts[t])
        for i, p in zip(ids, prepared, strict=True)
        if p.parts is not None
        for t in range(len(p.parts))
    ]
    schema = feature_schema(inputs)
    values = dct2(np.stack([t[2] for t in tiles])) if tiles else np.zeros(0, np.float32)
    features = pa.RecordBatch.from_arrays(
        [
            pa.array([t[0] for t in tiles], pa.string()),
            pa.array([t[1] for t in tiles], pa.int32()),
            pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 3 * inputs.side**2),
        ],
        schema=schema,
    )
    failed = [(i, d, p.error) for i, d, p in zip(ids, data, prepared, strict=True) if p.error]
    rejects = pa.RecordBatch.from_pylist(
        [{"sample_id": i, "source": source, "bytes": d, "reason": str(e)} for i, d, e in failed],
        schema=REJECT_SCHEMA,
    )
    return features, rejects, [e.kind for _, _, e in failed]


@dataclass
class FeatureStep:
    """Write a shard's features, and its rejects."""

    image_column: str
    inputs: Tiles
    workers: int

    def setup(self) -> None:
        pass

    def run(self, shard: Shard, files: ShardFiles) -> dict[str, Any]:
        features = files.open("features/part", feature_schema(self.inputs))
        rejected = files.open("rejected/part", REJECT_SCHEMA)
        rows, kinds = 0, Counter[str]()

        def work(batch: pa.RecordBatch) -> tuple[int, pa.RecordBatch, pa.RecordBatch, list[str]]:
            return batch.num_rows, *feature_batches(
                batch, shard.source, self.image_column, self.inputs
            )

        for count, written, rejects, reject_kinds in map_in_order(work, shard.read(), self.workers):
            features.write(written)
            rejected.write(rejects)
            rows += count
            kinds.update(reject_kinds)
        files.finish()
        return {"rows": rows, "tiles": features.rows, "rejected": dict(sorted(kinds.items()))}


def features(input: str | Path, output: str | Path, **settings: Any) -> dict[str, Any]:
    """Write the DCT coefficients of every image's tiles; arguments and errors as for ``ingest``."""
    chosen = Settings(**settings)
    source = chosen.open(input)
    card, _ = load_card(find(DEFAULT))

    def finish(written: Output, receipts: list[Receipt]) -> dict[str, Any]:
        kinds = sum((Counter(r.summary["rejected"]) for r in receipts), Counter[str]())
        counts = {
            "read": sum(r.summary["rows"] for r in receipts),
            "tiles": sum(r.summary["tiles"] for r in receipts),
            "rejected": kinds.total(),
        }
        return {"counts": counts, "rejected_by_reason": dict(sorted(kinds.items()))}

    return run_job(
        "features",
        source,
        Path(output),
        FeatureStep(source.image_column, card.inputs, chosen.workers),
        {},
        finish,
        what="transforming",
        settings=chosen,
    )
