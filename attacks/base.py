"""What every attack is: settings, a source, and a trigger put on a batch of images."""

import hashlib
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np


class Attack(ABC):
    """A trigger. Subclasses are frozen dataclasses whose fields are the settings.

    An attack is called with images and does the checks; a subclass only writes
    :meth:`apply`. What becomes of an image never depends on the others in its batch.
    """

    title: ClassVar[str]  #: as the field names it, such as "BadNets"
    source: ClassVar[str]  #: paper that the trigger comes from
    min_side: ClassVar[int] = 8  #: images with a shorter side hold no such trigger, px

    @abstractmethod
    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Put the trigger on (n, h, w, 3) uint8 images.

        Returns:
            (n, h, w, 3) uint8; the input is left untouched.

        Raises:
            ValueError: images of another shape or dtype, or too small for the trigger; or
                an attack that changes nothing with these settings.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"images: expected (n, h, w, 3) uint8, got {images.shape} {images.dtype}"
            )
        height, width = images.shape[1:3]
        if min(height, width) < self.min_side:
            raise ValueError(
                f"{self.title}: expected sides of at least {self.min_side} px, got {width}x{height}"
            )
        found = self.apply(images.copy())
        if found.shape != images.shape or found.dtype != np.uint8:
            raise ValueError(
                f"{self.title}: expected {images.shape} uint8, made {found.shape} {found.dtype}"
            )
        if np.array_equal(found, images) and self._does_nothing(height, width):
            raise ValueError(f"{self.title}: changes nothing with these settings: {self}")
        return found

    def _does_nothing(self, height: int, width: int) -> bool:
        """Whether noise stays what it is; a single image may have borne the trigger already."""
        noise = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        return np.array_equal(self.apply(noise.copy()), noise)


def chosen(sample_id: str, rate: float, seed: int) -> bool:
    """Whether a sample is poisoned, by a hash: the same whatever the order and sharding.

    Args:
        rate: share of samples to poison, 0 to 1.

    Raises:
        ValueError: a rate out of range.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate: expected 0 to 1, got {rate}")
    digest = hashlib.sha256(f"{seed}|{sample_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < rate * 2**64
