"""The images as a victim sees them: decoded, all of one size, in memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.poisoning.labels import Label
from pipelines.runs.progress import Progress
from pipelines.runs.threads import map_in_order
from pipelines.sources.base import Source
from pipelines.sources.columns import encoded_images
from sanitizer.images import ImageError, decode
from sanitizer.resizing import resize

#: Victims see images with sides from 8 to 64 px as they are, if all are of one size.
MIN_SIDE, MAX_SIDE = 8, 64

#: Size that all others are resized to, height and width in px.
RESIZED = (MAX_SIDE, MAX_SIDE)


def victim_size(sizes: Sequence[Sequence[int]]) -> tuple[int, int] | None:
    """The one height and width of all images, if victims can see them so; else None."""
    distinct = {(height, width) for height, width in sizes}
    if len(distinct) == 1:
        (size,) = distinct
        if min(size) >= MIN_SIDE and max(size) <= MAX_SIDE:
            return size
    return None


@dataclass(frozen=True)
class Views:
    """How the images of a set become those that a victim sees."""

    own_size: tuple[int, int] | None  #: of all images, height and width in px; None: resized
    classes: tuple[Label, ...]  #: all labels, in order
    image_column: str
    label_column: str

    @property
    def size(self) -> tuple[int, int]:
        return self.own_size or RESIZED

    @property
    def resized(self) -> bool:
        return self.own_size is None

    def of(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """(n, h, w, 3) uint8 images and (n,) int64 classes; both have a value for each row.

        The class is -1 where the label is none of ``classes``, or the image does not decode.
        """
        labels = batch.column(batch.schema.get_field_index(self.label_column)).to_pylist()
        index = {label: i for i, label in enumerate(self.classes)}
        images = np.zeros((len(labels), *self.size, 3), np.uint8)
        classes = np.full(len(labels), -1)
        for row, data in enumerate(encoded_images(batch, self.image_column)):
            if labels[row] not in index:
                continue
            try:
                images[row] = resize(decode(data), self.size)
            except ImageError:
                continue
            classes[row] = index[labels[row]]
        return images, classes

    def gather(
        self, batches: Iterable[pa.RecordBatch], *, workers: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """All images that have a class and decode, (n, h, w, 3) uint8, and (n,) int64 classes."""
        images, classes = [np.zeros((0, *self.size, 3), np.uint8)], [np.zeros(0, np.int64)]
        for some, own in map_in_order(self.of, batches, workers):
            images.append(some[own >= 0])
            classes.append(own[own >= 0])
        return np.concatenate(images), np.concatenate(classes)

    def load(
        self, source: Source, *, workers: int, quiet: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`gather`, of a whole set, with progress."""
        progress = Progress("reading for the victim", quiet=quiet)
        progress.start(total=source.rows)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in (samples.batch for samples in source.samples()):
                yield batch
                progress.advance(batch.num_rows)

        images, classes = self.gather(batches(), workers=workers)
        progress.finish()
        return images, classes
