"""Which images of a set a proof trains on and which it tests on, by a hash of their ids."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.runs.job import Settings, run_job
from pipelines.runs.output import Output, Receipt
from pipelines.runs.shards import ShardFiles
from pipelines.sources.base import Shard, Source
from pipelines.sources.columns import SAMPLE_ID, encoded_images
from sanitizer.images import Header, ImageError, decode

#: Of a set that is split, this share is tested on.
TEST_SHARE = 0.2

#: About so many images are tested on at most.
MAX_TEST = 5_000

#: Sizes that are remembered: it only matters whether there is more than one.
_SIZES = 2


@dataclass(frozen=True)
class Part:
    """The samples of a set whose :func:`place` is at least ``low`` and below ``high``."""

    low: float
    high: float

    def __contains__(self, sample_id: str) -> bool:
        return self.low <= place(sample_id) < self.high


def place(sample_id: str) -> float:
    """Where a sample lies between 0 and 1, evenly spread.

    A hash of the id alone, and another than the one that chooses what is poisoned.
    """
    digest = hashlib.sha256(f"proof|{sample_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def parts(rows: int, test_rows: int | None, max_train: int | None) -> tuple[Part, Part]:
    """What is trained on and what is tested on.

    Args:
        rows: of the set, at least 1.
        test_rows: of another set to test on, at least 1; None where the one set is split.
        max_train: about so many images are trained on at most; None: all.
    """
    if test_rows is None:
        test, rest = TEST_SHARE, 1 - TEST_SHARE
        test_rows = rows
    else:
        test, rest = 0.0, 1.0
    train = rest if max_train is None else min(rest, max_train / rows)
    return Part(test, test + train), Part(0.0, min(test or 1.0, MAX_TEST / test_rows))


@dataclass
class SelectStep:
    """Copy those rows of a shard that lie in a part to ``data/train-…``, untouched."""

    schema: pa.Schema
    image_column: str
    part: Part

    def setup(self) -> None:
        pass

    def run(self, shard: Shard, files: ShardFiles) -> dict[str, Any]:
        rows, found = 0, set[tuple[int, int]]()
        written = files.open("data/train", self.schema)
        for batch in shard.read():
            rows += batch.num_rows
            ids = batch.column(batch.schema.get_field_index(SAMPLE_ID)).to_pylist()
            kept = batch.filter(pa.array([i in self.part for i in ids], pa.bool_()))
            written.write(kept)
            found |= set(sizes(encoded_images(kept, self.image_column)))
        files.finish()
        return {"rows": rows, "kept": written.rows, "sizes": sorted(found)[:_SIZES]}


def sizes(images: Sequence[bytes | None]) -> Iterator[tuple[int, int]]:
    """Height and width of those images that have a header; nothing is decompressed."""
    for data in images:
        found: list[Header] = []

        def look(header: Header, found: list[Header] = found) -> None:
            found.append(header)
            raise ImageError("not decoded", "only its size was asked for")

        with suppress(ImageError):
            decode(data, look)
        yield from ((header.height, header.width) for header in found)


def select(
    source: Source, output: Path, part: Part, what: str, settings: Settings
) -> dict[str, Any]:
    """Copy a part of a set to Parquet in ``output``; goes on where it was, like every job.

    Args:
        what: the word that progress is shown under.

    Returns:
        The manifest, with ``kept``, the number of rows, and ``sizes``, the heights and widths
        found among them: if there are several, two of them.

    Raises:
        InputError, RunError: as every job.
    """

    def finish(written: Output, receipts: list[Receipt]) -> dict[str, Any]:
        found = {tuple(size) for r in receipts for size in r.summary["sizes"]}
        return {
            "kept": sum(r.summary["kept"] for r in receipts),
            "sizes": [list(size) for size in sorted(found)[:_SIZES]],
        }

    step = SelectStep(source.schema, source.image_column, part)
    return run_job(
        "select", source, output, step, asdict(part), finish, what=what, settings=settings
    )
