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

    The copy shows what is large and the sums what is fine. Where no image is larger than the copy,
    they say the same and there are no sums.
    """

    pixels: np.ndarray  #: (n, 32, 32, 3) uint8, each the mean of its area
    native: np.ndarray | None = None  #: (n, b) uint8, each a :func:`~sanitizer.scan.native.summary`

    @classmethod
    def of(cls, pixels: np.ndarray) -> Self:
        """One image. Args: pixels: (h, w, 3) uint8."""
        small = resize(pixels, (SIDE, SIDE), Filter.BOX)[None]
        if max(pixels.shape[:2]) <= SIDE:
            return cls(small)
        height, width = (max(side, native.LEAST_SIDE) for side in pixels.shape[:2])
        return cls(small, native.summary(resize(pixels, (height, width), Filter.BOX))[None])

    @classmethod
    def of_bytes(cls, pixels: bytes | memoryview, summaries: Sequence[bytes | None]) -> Self:
        """Images from their bytes.

        Args:
            pixels: of all images, one behind the other; they are not copied.
            summaries: of each image; None where it is not larger than its copy.
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

    def summed(self) -> "Compact":
        """The same images, with sums in any case, to be seen beside larger ones."""
        if self.native is not None:
            return self
        sums = [native.summary(image) for image in self.pixels]
        return Compact(self.pixels, np.array(sums, np.uint8).reshape(len(self), native.NBYTES))

    def batches(self, summed: bool = False) -> Iterator[tuple[slice, Batch]]:
        """The images, ``BATCH`` at a time, and where they stand.

        Args:
            summed: whether sums are wanted in any case.
        """
        for start in range(0, len(self), BATCH):
            here = slice(start, start + BATCH)
            images = self[here].summed() if summed else self[here]
            yield here, Batch.of(images.pixels, images.native)
