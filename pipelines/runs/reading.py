"""The images of a set that decode, one after the other, and a random choice of them."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipelines.runs.progress import Progress
from pipelines.sources.base import Source
from pipelines.sources.columns import encoded_images, sample_ids
from sanitizer.images import Header, ImageError, decode


class DecodedImage(NamedTuple):
    """An image of a set."""

    sample_id: str
    pixels: np.ndarray  #: (h, w, 3) uint8
    header: Header


def decoded_images(source: Source, *, quiet: bool) -> Iterator[DecodedImage]:
    """The images that decode; how many do not, and why, is shown."""
    progress = Progress(f"reading {source.location}", quiet=quiet)
    progress.start(total=source.rows)
    left_out = Counter[str]()
    for samples in source.samples():
        encoded = encoded_images(samples.batch, source.image_column)
        for sample_id, data in zip(sample_ids(samples.batch), encoded, strict=True):
            headers: list[Header] = []
            try:
                pixels = decode(data, headers.append)
            except ImageError as error:
                left_out[error.kind] += 1
            else:
                yield DecodedImage(sample_id, pixels, headers[0])
        progress.advance(len(samples))
    progress.finish()
    if left_out:
        why = ", ".join(f"{count:,} {kind}" for kind, count in sorted(left_out.items()))
        progress.say(f"{source.location}: {left_out.total():,} images are left out: {why}")


class Reservoir:
    """Where those of all items offered go that are kept: a uniform random choice (Vitter 1985)."""

    def __init__(self, size: int, seed: int):
        self._size, self._rng = size, np.random.default_rng(seed)
        self.offered = 0

    def place(self) -> int | None:
        """The place of the next item, perhaps another's; None: it is passed over."""
        self.offered += 1
        if self.offered <= self._size:
            return self.offered - 1
        place = int(self._rng.integers(self.offered))
        return place if place < self._size else None
