"""The form in which the scan keeps and sees images of any size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.resizing import Filter, resize
from sanitizer.scan import native
from sanitizer.scan.views import SIDE, Batch

#: Bytes of the pixels of an image.
NBYTES = SIDE * SIDE * 3

#: Images whose views are made together: what several views need of them stays in the cache.
BATCH = 100


@dataclass(frozen=True)
class Compact:
    """Some images, each as a small copy of all of it, and sums over its native pixels.

    The copy shows what is large and the sums what is fine. An image that is no larger than its
    copy, or too narrow for sums, has none: beside others that have, they are those of its copy.
    """

    pixels: np.ndarray  #: (n, 32, 32, 3) uint8, each the mean of its area
    #: (n, b) uint8, each a :func:`~sanitizer.scan.native.summary`; None where no image has one
    native: np.ndarray | None = None

    @classmethod
    def of(cls, pixels: np.ndarray) -> Self:
        """One image. Args: pixels: (h, w, 3) uint8."""
        small = cls(resize(pixels, (SIDE, SIDE), Filter.BOX)[None])
        shortest, longest = sorted(pixels.shape[:2])
        if shortest < native.LEAST_SIDE or longest <= SIDE:
            return small
        return cls(small.pixels, native.summary(pixels)[None])

    @classmethod
    def of_bytes(cls, pixels: bytes | memoryview, summaries: Sequence[bytes | None]) -> Self:
        """Images from their bytes.

        Args:
            pixels: of all images, one behind the other; they are not copied.
            summaries: of each image; None where it has none.
        """
        images = np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE, 3)
        if all(one is None for one in summaries):
            return cls(images)
        every = [
            native.summary(image) if one is None else np.frombuffer(one, np.uint8)
            for image, one in zip(images, summaries, strict=True)
        ]
        return cls(images, np.stack(every))

    def to_bytes(self) -> tuple[bytes, bytes | None]:
        """What :meth:`of_bytes` takes of one image."""
        return self.pixels.tobytes(), None if self.native is None else self.native.tobytes()

    @classmethod
    def joined(cls, parts: Sequence["Compact"]) -> Self:
        """All images of one or more parts."""
        pixels = np.concatenate([part.pixels for part in parts])
        if all(part.native is None for part in parts):
            return cls(pixels)
        return cls(pixels, np.concatenate([part.summed().native for part in parts]))

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, chosen: np.ndarray | slice) -> "Compact":
        return Compact(self.pixels[chosen], None if self.native is None else self.native[chosen])

    def are_whole(self) -> np.ndarray:
        """(n,) bool, which images have no more in them than their copies show."""
        if self.native is None:
            return np.ones(len(self), bool)
        whole: np.ndarray = (self._sums_of_copies() == self.native).all(1)
        return whole

    def summed(self) -> "Compact":
        """The same images, with sums in any case."""
        if self.native is not None:
            return self
        return Compact(self.pixels, self._sums_of_copies())

    def _sums_of_copies(self) -> np.ndarray:
        """(n, b) uint8."""
        sums = [native.summary(image) for image in self.pixels]
        return np.array(sums, np.uint8).reshape(len(self), native.NBYTES)

    def batches(
        self, summed: bool = False, order: np.ndarray | None = None
    ) -> Iterator[tuple[slice, Batch]]:
        """The images, ``BATCH`` at a time, and where they stand.

        Args:
            summed: whether sums are wanted in any case.
            order: (k,) rows of some images, which are taken in this order; None: all as they are.
        """
        for start in range(0, len(self) if order is None else len(order), BATCH):
            here = slice(start, start + BATCH)
            images = self[here if order is None else order[here]]
            images = images.summed() if summed else images
            yield here, Batch.of(images.pixels, images.native)
