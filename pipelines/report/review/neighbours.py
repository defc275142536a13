"""Which images that were kept look most like some that were removed, in the same class."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.report.images import stored_images
from pipelines.report.review.pictures import thumbnail
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.images import ImageError, decode
from sanitizer.records import CLEAN
from sanitizer.resizing import resize
from sanitizer.summary import label_key

#: Kept images that are looked at, in all and of one class, and files that are opened for them.
LOOKED_AT, OF_A_CLASS, FILES = 3_000, 400, 64

#: Pixels of them that are decoded, about: of photographs fewer are looked at than of thumbnails.
PIXELS = 150_000_000

#: Of them, those that are shown beside a removed image.
NEAREST = 3

#: Images are compared as so many by so many cells of mean colour.
_CELLS = 8


@dataclass(frozen=True)
class Neighbour:
    """A kept image that stands beside removed ones."""

    sample_id: str
    thumb: np.ndarray  #: (h, w, 3) uint8


@dataclass(frozen=True)
class Neighbours:
    """Kept images, some of each class, to compare removed ones with."""

    looked_at: list[Neighbour]
    _descriptors: np.ndarray  #: (n, d) float32
    _labels: np.ndarray  #: (n,) label keys

    def nearest(self, label: str, pixels: np.ndarray) -> list[int]:
        """The places of those of a class that look most like an image, the nearest first.

        Args:
            label: a :func:`sanitizer.summary.label_key`.
            pixels: (height, width, 3) uint8.
        """
        mine = np.flatnonzero(self._labels == label)
        distances = np.square(self._descriptors[mine] - describe(pixels)).sum(1)
        return [int(place) for place in mine[np.argsort(distances, kind="stable")[:NEAREST]]]


def describe(pixels: np.ndarray) -> np.ndarray:
    """(d,) float32: mean colours of the cells of an image, whatever its size and brightness."""
    cells = resize(pixels, (_CELLS, _CELLS)).astype(np.float32).ravel() / 255
    return cells - cells.mean()


def sample_neighbours(
    store: Store, shards: int, image_column: str, labels: Sequence[str]
) -> Neighbours:
    """Look at some kept images of each class, spread evenly over the set.

    Args:
        store: OUTPUT.
        shards: that it has.
        image_column: name of the column of the images.
        labels: keys of the classes; those of which there are more removed images first, as there
            is a limit to how many are looked at.
    """
    quota = min(OF_A_CLASS, max(NEAREST, LOOKED_AT // max(1, len(labels))))
    wanted = dict.fromkeys(labels[: LOOKED_AT // quota], quota)
    found: list[Neighbour] = []
    descriptors, keys = [np.zeros((0, 3 * _CELLS**2), np.float32)], []
    step = max(1, math.ceil(shards / FILES))
    opened = list(range(0, shards, step))
    pixels_left = PIXELS
    for left, shard in zip(range(len(opened), 0, -1), opened, strict=True):
        of_shard = _kept(store, shard, shards, wanted, left)
        least = pixels_left * (left - 1) // left  # for the shards that are still to come
        for sample_id, pixels in _decoded(store, shard, shards, image_column, of_shard):
            found.append(Neighbour(sample_id, thumbnail(pixels)))
            descriptors.append(describe(pixels)[None])
            keys.append(of_shard[sample_id])
            wanted[of_shard[sample_id]] -= 1
            pixels_left -= pixels.shape[0] * pixels.shape[1]
            if pixels_left <= least:
                break
    return Neighbours(found, np.concatenate(descriptors), np.array(keys, str))


def _kept(
    store: Store, shard: int, shards: int, wanted: dict[str, int], left: int
) -> dict[str, str]:
    """Ids of kept images of a shard, with their label keys: of each class its share of the rest."""
    with store.open(layout.SCORES.name(shard, shards)) as file:
        rows = pq.read_table(file, columns=["sample_id", "label", "verdict"])
    rows = rows.filter(pc.equal(rows["verdict"], CLEAN))
    share = {label: math.ceil(count / left) for label, count in wanted.items() if count > 0}
    chosen: dict[str, str] = {}
    for sample_id, label in zip(rows["sample_id"].to_pylist(), _keys(rows["label"]), strict=True):
        if share.get(label, 0) > 0:
            share[label] -= 1
            chosen[sample_id] = label
    return chosen


def _keys(labels: pa.ChunkedArray) -> list[str]:
    return [label_key(label) for label in labels.to_pylist()]


def _decoded(
    store: Store, shard: int, shards: int, image_column: str, ids: dict[str, str]
) -> Iterator[tuple[str, np.ndarray]]:
    if not ids:
        return
    for sample_id, data in stored_images(store, layout.CLEAN.name(shard, shards), image_column):
        if sample_id in ids:
            try:
                yield sample_id, decode(data)
            except ImageError:  # only if the file is not what was judged
                continue
