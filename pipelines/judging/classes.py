"""The images of a set as the scan sees them, shard by shard on the way in, class by class out.

Each shard leaves an Arrow file with one batch for each of its classes. When all are there, the
driver writes down where each class lies, and puts a sample of the whole set beside it. So a worker
reads one class, wherever its images are, and nothing is sorted or sent around.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.runs import layout
from pipelines.runs.passes import Finished
from pipelines.runs.shards import BatchWriter, ShardTask
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

#: To read of these files no images, which are nearly all of them.
_ONLY_IDS = pa.ipc.IpcReadOptions(included_fields=[VIEWS.get_field_index("sample_id")])

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
        self._keys: dict[int | str, str] = {}  # of labels that were met

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
                own = self._by_class.setdefault(self._key(label), [])
                own.append((row, sample_id, *image.to_bytes()))
        self._rows += len(images)

    def _key(self, label: Any) -> str:
        """The key of a label; few differ, and to make one takes longer than to find it."""
        if type(label) not in (int, str):
            return label_key(label)
        if label not in self._keys:
            self._keys[label] = label_key(label)
        return self._keys[label]

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
    return Compact.of_bytes(_pixels(batch).data, batch["native"].to_pylist())


def _pixels(batch: pa.RecordBatch) -> np.ndarray:
    """(n, NBYTES) uint8 of a batch, without a copy."""
    column = batch["pixels"]
    pixels = np.frombuffer(column.buffers()[1], np.uint8)
    return pixels[column.offset * NBYTES :][: len(column) * NBYTES].reshape(-1, NBYTES)


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
        least = _Least(SAMPLED)
        for shard in range(len(finished.receipts)):
            name = layout.views(pass_name, shard)
            with store.open(name) as file, pa.ipc.open_file(file, options=_ONLY_IDS) as views:
                for batch, held in enumerate(_classes_of(views)):
                    places.setdefault(held.label, []).append((shard, batch, held.rows))
                    least.add((shard, batch), views.get_batch(batch)["sample_id"])
        labels = sorted(places, key=in_order)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, PLACES) as writer:
            for label in labels:
                columns = zip(*places[label], strict=True)
                arrays = [pa.array(column, pa.int32()) for column in columns]
                writer.write_batch(pa.record_batch(arrays, schema=PLACES))
        store.write(layout.CLASSES, sink.getvalue().to_pybytes())
        sample_sha256 = _write_sample(store, pass_name, labels, least)
        rows = tuple(sum(place[2] for place in places[label]) for label in labels)
        return cls(tuple(labels), rows, sample_sha256)


class _Least:
    """A sample of a set that does not depend on how it is cut: the images of the least hashes."""

    def __init__(self, count: int):
        self._count = count
        self._places: list[tuple[int, int]] = []
        self._keys: list[np.ndarray] = []  # of each place

    def add(self, place: tuple[int, int], ids: pa.StringArray) -> None:
        """Args: place: shard and batch, in their order; ids: of the images there."""
        keys = map(sampling_key, ids.to_pylist())
        self._places.append(place)
        self._keys.append(np.fromiter(keys, np.uint64, len(ids)))

    def chosen(self) -> Iterator[tuple[int, list[tuple[int, np.ndarray, np.ndarray]]]]:
        """The sample, shard by shard: the number of each batch, rows in it, and their ranks."""
        if not self._keys:
            return
        keys = np.concatenate(self._keys)
        ranks = np.full(len(keys), -1)
        first = np.argsort(keys, kind="stable")[: self._count]
        ranks[first] = np.arange(len(first))
        of_batches = np.split(ranks, np.cumsum([len(one) for one in self._keys])[:-1])
        in_order = zip(self._places, of_batches, strict=True)
        for shard, batches in itertools.groupby(in_order, lambda one: one[0][0]):
            yield (
                shard,
                [
                    (batch, rows, ranks[rows])
                    for (_, batch), ranks in batches
                    if len(rows := np.flatnonzero(ranks >= 0))
                ],
            )

    def __len__(self) -> int:
        return min(self._count, sum(len(one) for one in self._keys))


def _write_sample(store: Store, pass_name: str, labels: Sequence[str], least: _Least) -> str:
    """Write a sample of the set, each label by its number; returns the hash of the file."""
    numbers = {label: number for number, label in enumerate(labels)}
    label_of = np.empty(len(least), np.int32)
    pixels = np.empty((len(least), NBYTES), np.uint8)
    native: list[bytes | None] = [None] * len(least)
    for shard, batches in least.chosen():
        with store.open(layout.views(pass_name, shard)) as file, pa.ipc.open_file(file) as views:
            held = _classes_of(views)
            for batch, rows, ranks in batches:
                stored = views.get_batch(batch)
                label_of[ranks] = numbers[held[batch].label]
                pixels[ranks] = _pixels(stored)[rows]
                if stored["native"].null_count < len(stored):
                    summaries = stored["native"].take(pa.array(rows)).to_pylist()
                    for rank, one in zip(ranks.tolist(), summaries, strict=True):
                        native[rank] = one
    columns = [
        pa.array(label_of),
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(NBYTES), len(pixels), [None, pa.py_buffer(pixels)]
        ),
        pa.array(native, pa.binary()),
    ]
    writer = BatchWriter(store, layout.POPULATION, SAMPLE)
    try:
        writer.write(pa.record_batch(columns, schema=SAMPLE))
        writer.finish()
        return writer.publish().sha256
    finally:
        writer.discard()


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
