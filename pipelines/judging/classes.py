"""The images of a set as the scan sees them, shard by shard on the way in, class by class out.

Each shard leaves an Arrow file with one batch for each of its classes. When all are there, the
driver writes down where each class lies, and puts a sample of the whole set beside it. So a worker
reads one class, wherever its images are, and nothing is sorted or sent around.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.runs import layout
from pipelines.runs.passes import Finished
from pipelines.runs.shards import ShardTask
from pipelines.runs.store import Store
from sanitizer.record import Record
from sanitizer.scan.canonical import NBYTES, Compact
from sanitizer.scan.population import SAMPLED
from sanitizer.summary import in_order, label_key

#: Of the images of a shard; its metadata say which classes its batches are.
VIEWS = pa.schema(
    [
        *(("row", pa.int32()), ("sample_id", pa.string())),
        *(("pixels", pa.binary(NBYTES)), ("native", pa.binary())),
    ]
)

_METADATA = b"classes"

#: Where the batches of a class are, a batch for each class.
PLACES = pa.schema([("shard", pa.int32()), ("batch", pa.int32()), ("rows", pa.int32())])

#: The sample of the set.
SAMPLE = pa.schema([("label", pa.int32()), ("pixels", pa.binary(NBYTES)), ("native", pa.binary())])


@dataclass(frozen=True)
class ClassRows(Record):
    """How many images of a class a shard holds."""

    label: str  #: a :func:`sanitizer.summary.label_key`
    rows: int


class Images(NamedTuple):
    """Some images of a shard."""

    shard: int  #: its number
    rows: np.ndarray  #: (n,) int64, in the shard
    ids: list[str]
    seen: Compact  #: as the scan sees them


class Views:
    """Gathers the images of a shard, to be left class by class."""

    def __init__(self, task: ShardTask):
        self._task = task
        self._rows = 0
        self._by_class: dict[str, list[tuple[int, str, bytes, bytes | None]]] = {}

    def add(self, samples: pa.RecordBatch, images: Sequence[Compact | None]) -> None:
        """Add the next samples.

        Args:
            samples: in the order of the shard, with columns ``sample_id`` and ``label``.
            images: of each sample; None where there is none.
        """
        ids, labels = (samples[name].to_pylist() for name in ("sample_id", "label"))
        each = zip(ids, labels, images, strict=True)
        for row, (sample_id, label, image) in enumerate(each, self._rows):
            if image is not None:
                own = self._by_class.setdefault(label_key(label), [])
                own.append((row, sample_id, *image.to_bytes()))
        self._rows += len(images)

    def write(self) -> None:
        """Start the file and write all of them; the task finishes it."""
        labels = sorted(self._by_class)
        held = [ClassRows(label, len(self._by_class[label])).to_json() for label in labels]
        writer = self._task.open_views(VIEWS.with_metadata({_METADATA: json.dumps(held)}))
        for label in labels:
            columns = zip(*self._by_class[label], strict=True)
            arrays = [pa.array(c, field.type) for c, field in zip(columns, VIEWS, strict=True)]
            writer.write(pa.record_batch(arrays, schema=VIEWS))


def read_views(store: Store, pass_name: str, shard: int) -> Iterator[tuple[str, Images]]:
    """The images of a shard, and the label of each batch of them."""
    with store.open(layout.views(pass_name, shard)) as file, pa.ipc.open_file(file) as views:
        for batch, held in enumerate(_classes_of(views)):
            yield held.label, _images(shard, views.get_batch(batch))


def _classes_of(views: pa.ipc.RecordBatchFileReader) -> list[ClassRows]:
    return [ClassRows.from_json(held) for held in json.loads(views.schema.metadata[_METADATA])]


def _images(shard: int, batch: pa.RecordBatch) -> Images:
    return Images(shard, batch["row"].to_numpy(), batch["sample_id"].to_pylist(), _compact(batch))


def _compact(batch: pa.RecordBatch) -> Compact:
    """The images of a batch, their pixels without a copy."""
    column = batch["pixels"]
    start = column.offset * NBYTES
    pixels = memoryview(column.buffers()[1])[start : start + len(column) * NBYTES]
    return Compact.of_bytes(pixels, batch["native"].to_pylist())


@dataclass(frozen=True)
class Classes:
    """The classes of a set, and where their images are."""

    labels: tuple[str, ...] = ()  #: in order, each a :func:`sanitizer.summary.label_key`
    rows: tuple[int, ...] = ()  #: of each
    sample_sha256: str = ""  #: of the sample of the set

    @classmethod
    def gather(cls, finished: Finished[Any], pass_name: str) -> "Classes":
        """Write down where each class is, and a sample of all; returns what classes there are."""
        store = finished.store
        places: dict[str, list[tuple[int, int, int]]] = {}
        smallest = _Smallest(SAMPLED)
        for shard in range(len(finished.receipts)):
            name = layout.views(pass_name, shard)
            with store.open(name) as file, pa.ipc.open_file(file) as views:
                for batch, held in enumerate(_classes_of(views)):
                    places.setdefault(held.label, []).append((shard, batch, held.rows))
                    smallest.add(held.label, views.get_batch(batch))
        labels = sorted(places, key=in_order)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, PLACES) as writer:
            for label in labels:
                columns = zip(*places[label], strict=True)
                arrays = [pa.array(column, pa.int32()) for column in columns]
                writer.write_batch(pa.record_batch(arrays, schema=PLACES))
        store.write(layout.CLASSES, sink.getvalue().to_pybytes())
        sample = smallest.to_bytes(labels)
        store.write(layout.POPULATION, sample)
        rows = tuple(sum(place[2] for place in places[label]) for label in labels)
        return cls(tuple(labels), rows, hashlib.sha256(sample).hexdigest())


class _Smallest:
    """A sample of a set that does not depend on how it is cut: the images of the least hashes."""

    def __init__(self, count: int):
        self._count = count
        self._bound = 1 << 64  # above which no hash can be among the least
        self._held: list[tuple[int, str, bytes, bytes | None]] = []

    def add(self, label: str, batch: pa.RecordBatch) -> None:
        for row, sample_id in enumerate(batch["sample_id"].to_pylist()):
            if (key := sampling_key(sample_id)) < self._bound:
                kept = (batch[column][row].as_py() for column in SAMPLE.names[1:])
                self._held.append((key, label, *kept))
        if len(self._held) > 2 * self._count:
            self._thin_out()

    def _thin_out(self) -> None:
        self._held.sort(key=lambda held: held[0])
        del self._held[self._count :]
        if len(self._held) == self._count:
            self._bound = self._held[-1][0]

    def to_bytes(self, labels: Sequence[str]) -> bytes:
        """As an Arrow file, each label by its number among ``labels``."""
        self._thin_out()
        numbers = {label: number for number, label in enumerate(labels)}
        rows = [(numbers[label], *kept) for _, label, *kept in self._held]
        arrays = [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(SAMPLE)]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, SAMPLE) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=SAMPLE))
        return bytes(sink.getvalue())


def sampling_key(sample_id: str) -> int:
    """By which images are sampled, those of the least keys first."""
    digest = hashlib.blake2b(sample_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def read_sample(store: Store) -> tuple[Compact, np.ndarray]:
    """The sample of the set, in random order: images, and (n,) numbers of their classes."""
    with store.open(layout.POPULATION) as file, pa.ipc.open_file(file) as stored:
        batch = stored.get_batch(0)
        return _compact(batch), batch["label"].to_numpy()


def read_class(store: Store, pass_name: str, number: int) -> Iterator[Images]:
    """The images of a class, shard after shard."""
    with store.open(layout.CLASSES) as file, pa.ipc.open_file(file) as stored:
        places = stored.get_batch(number).to_pylist()
    for place in places:
        name = layout.views(pass_name, place["shard"])
        with store.open(name) as file, pa.ipc.open_file(file) as views:
            yield _images(place["shard"], views.get_batch(place["batch"]))
