"""Which images of a set a proof trains on and which it tests on, by a hash of their ids."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from pipelines.runs.job import Settings, run_job
from pipelines.runs.output import Output, Receipt
from pipelines.runs.shards import ShardFiles
from pipelines.sources.base import Shard, Source
from pipelines.sources.columns import SAMPLE_ID, encoded_images
from sanitizer.images import Header, ImageError, decode
from sanitizer.record import Record

#: Of a set that is split, this share is tested on.
TEST_SHARE = 0.2

#: About so many images are tested on at most.
MAX_TEST = 5_000

#: Sizes that are remembered: it only matters whether there is more than one.
_SIZES = 2


@dataclass(frozen=True)
class HashRange(Record):
    """The samples of a set whose :func:`hash_of` is at least ``low`` and below ``high``."""

    low: float
    high: float

    def __contains__(self, sample_id: str) -> bool:
        return self.low <= hash_of(sample_id) < self.high


def hash_of(sample_id: str) -> float:
    """A number of at least 0 and below 1 that follows from the id alone, evenly spread.

    Independent of the hash that chooses what is poisoned.
    """
    digest = hashlib.sha256(f"proof|{sample_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def train_and_test(
    rows: int, test_rows: int | None, max_train: int | None
) -> tuple[HashRange, HashRange]:
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
    return (
        HashRange(test, test + train),
        HashRange(0.0, min(test or 1.0, MAX_TEST / test_rows)),
    )


@dataclass(frozen=True)
class Selection(Record):
    """What was selected from a set."""

    kept: int  #: rows
    sizes: list[tuple[int, int]]  #: heights and widths among them; of several, two

    @classmethod
    def of(cls, kept: int, sizes: Iterable[tuple[int, int]]) -> Self:
        return cls(kept, sorted(set(sizes))[:_SIZES])


@dataclass
class SelectStep:
    """Copy those rows of a shard that lie in a range to ``data/train-…``, untouched."""

    schema: pa.Schema
    image_column: str
    selected: HashRange

    def setup(self) -> None:
        pass

    def run(self, shard: Shard, files: ShardFiles) -> dict[str, Any]:
        rows, sizes = 0, set[tuple[int, int]]()
        written = files.open("data/train", self.schema)
        for batch in shard.read():
            rows += batch.num_rows
            ids = batch.column(batch.schema.get_field_index(SAMPLE_ID)).to_pylist()
            kept = batch.filter(pa.array([i in self.selected for i in ids], pa.bool_()))
            written.write(kept)
            sizes |= set(image_sizes(encoded_images(kept, self.image_column)))
        files.finish()
        return {"rows": rows, **Selection.of(written.rows, sizes).to_json()}


def image_sizes(images: Sequence[bytes | None]) -> Iterator[tuple[int, int]]:
    """Height and width of those images that have a header; nothing is decompressed."""
    return filter(None, map(_size, images))


def _size(data: bytes | None) -> tuple[int, int] | None:
    size: tuple[int, int] | None = None

    def look(header: Header) -> None:
        nonlocal size
        size = header.height, header.width
        raise ImageError("not decoded", "only its size was asked for")

    with suppress(ImageError):
        decode(data, look)
    return size


def select(
    source: Source, output: Path, selected: HashRange, what: str, settings: Settings
) -> Selection:
    """Copy some rows of a set to Parquet in ``output``; goes on where it was, like every job.

    Args:
        what: the word that progress is shown under.

    Raises:
        InputError, RunError: as every job.
    """
    manifest = run_job(
        "select",
        source,
        output,
        SelectStep(source.schema, source.image_column, selected),
        selected.to_json(),
        _finish,
        what=what,
        settings=settings,
    )
    return Selection.from_json(manifest)


def _finish(output: Output, receipts: list[Receipt]) -> dict[str, Any]:
    """The manifest's facts."""
    parts = [Selection.from_json(receipt.summary) for receipt in receipts]
    sizes = (size for part in parts for size in part.sizes)
    return Selection.of(sum(part.kept for part in parts), sizes).to_json()
