"""Which images of a set a proof trains on and which it tests on, by a hash of their ids."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Self

import pyarrow as pa

from pipelines.runs import layout
from pipelines.runs.job import Job, Settings
from pipelines.runs.manifest import Manifest
from pipelines.runs.passes import Finished, Pass, Step
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from pipelines.sources.base import Source
from pipelines.sources.columns import encoded_images, sample_ids
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


@dataclass(frozen=True, kw_only=True)
class SelectManifest(Manifest):
    """The manifest of a selection."""

    selection: Selection


@dataclass
class SelectStep(Step[Selection]):
    """Copy those rows of a shard that lie in a range to ``data/train-…``, untouched."""

    schema: pa.Schema
    image_column: str
    selected: HashRange

    def run(self, task: ShardTask) -> tuple[int, Selection]:
        rows, sizes = 0, set[tuple[int, int]]()
        writer = task.open(layout.TRAIN, self.schema)
        for samples in task.samples():
            rows += len(samples)
            chosen = [sample_id in self.selected for sample_id in sample_ids(samples.batch)]
            kept = samples.batch.filter(pa.array(chosen, pa.bool_()))
            writer.write(kept)
            sizes |= set(image_sizes(encoded_images(kept, self.image_column)))
        task.finish()
        return rows, Selection.of(writer.rows, sizes)


@dataclass
class SelectPass(Pass[None, Selection, Selection]):
    """Copy some rows of a set."""

    name: ClassVar[str] = "select"
    counts: ClassVar[type[Record]] = Selection

    source: Source
    selected: HashRange
    doing: str

    def step(self, given: None) -> Step[Selection]:
        return SelectStep(self.source.schema, self.source.image_column, self.selected)

    def merge(self, given: None, finished: Finished[Selection]) -> Selection:
        sizes = (size for shard in finished.counts for size in shard.sizes)
        return Selection.of(sum(shard.kept for shard in finished.counts), sizes)


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
    source: Source, store: Store, selected: HashRange, doing: str, settings: Settings
) -> Selection:
    """Copy some rows of a set to Parquet; goes on where it was, like every job.

    Args:
        doing: the word that progress is shown under.

    Raises:
        InputError, RunError: as every job.
    """
    return (
        Job(
            name="select",
            source=source,
            store=store,
            passes=[SelectPass(source, selected, doing)],
            options=selected,
            finish=lambda output, common, made: SelectManifest.of(common, selection=made),
            manifest=SelectManifest,
        )
        .run(settings)
        .selection
    )
