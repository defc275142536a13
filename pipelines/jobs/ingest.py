"""``ingest``: any source to canonical Parquet shards, every byte as it came."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.runs.cards import write_card
from pipelines.runs.job import Settings, run_job
from pipelines.runs.output import Output, Receipt
from pipelines.runs.shards import ShardFiles
from pipelines.sources.base import Shard


@dataclass
class IngestStep:
    """Copy a shard's rows to ``data/train-…``."""

    schema: pa.Schema

    def setup(self) -> None:
        pass

    def run(self, shard: Shard, files: ShardFiles) -> dict[str, Any]:
        part = files.open("data/train", self.schema)
        for batch in shard.read():
            part.write(batch)
        files.finish()
        return {"rows": part.rows}


def ingest(input: str | Path, output: str | Path, **settings: Any) -> dict[str, Any]:
    """Copy an image set to Parquet shards that ``load_dataset`` and ``clean`` read.

    Args:
        input: folder of images, Parquet, WebDataset tars, saved dataset or Hub id.
        output: a new or empty directory, or one that holds an unfinished run of the same.
        settings: as in :class:`pipelines.runs.job.Settings`.

    Returns:
        The manifest, as written to ``output/manifest.json``.

    Raises:
        InputError: bad usage or input.
        RunError: the run failed.
    """
    chosen = Settings(**settings)
    source = chosen.open(input)

    def finish(written: Output, receipts: list[Receipt]) -> dict[str, Any]:
        rows = sum(r.summary["rows"] for r in receipts)
        text = f"{rows:,} images from {source.kind}, with a stable `sample_id` each."
        splits = ("train",) if rows else ()
        write_card(
            written.path,
            receipts,
            splits,
            "Image set read by freqsan",
            text,
            source.schema,
            source.image_column,
        )
        return {"counts": {"read": rows}}

    return run_job(
        "ingest",
        source,
        Path(output),
        IngestStep(source.schema),
        {},
        finish,
        what="reading",
        needed_bytes=source.nbytes,
        settings=chosen,
    )
