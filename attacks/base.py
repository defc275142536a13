"""What every attack is: settings, a source, and a trigger put on a batch of images."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar

import numpy as np


class Role(StrEnum):
    """What an image is triggered for."""

    POISON = "poison"  #: in a training set, with the attacker's label
    COVER = "cover"  #: in a training set, with its true label, to hide the others
    TEST = "test"  #: shown to the trained model


class Attack(ABC):
    """A trigger. Subclasses are frozen dataclasses whose fields are the settings.

    An attack is called with images and does the checks; a subclass only writes
    :meth:`apply`, and :meth:`apply_cover` or :meth:`apply_test` where its source puts the
    trigger on cover samples, or at test time, in another way. What becomes of an image never
    depends on the others in its batch; chance is drawn by :func:`generators`.
    """

    title: ClassVar[str]  #: as the field names it, such as "BadNets"
    source: ClassVar[str]  #: paper that the trigger comes from
    min_side: ClassVar[int] = 8  #: images with a shorter side hold no such trigger, px
    #: Whether the source poisons images of the target class only and leaves their labels.
    clean_label: ClassVar[bool] = False
    cover_ratio: float = 0.0  #: cover samples for each poisoned one

    @abstractmethod
    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""

    def apply_cover(self, images: np.ndarray) -> np.ndarray:
        """As :meth:`apply`, for cover samples."""
        return self.apply(images)

    def apply_test(self, images: np.ndarray) -> np.ndarray:
        """As :meth:`apply`, at test time."""
        return self.apply(images)

    @property
    def own_target(self) -> int | None:
        """The label that the trigger was optimised towards; None where any will do."""
        return None

    def __call__(self, images: np.ndarray, role: Role = Role.POISON) -> np.ndarray:
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
        triggered = self._apply_as(role, images.copy())
        if triggered.shape != images.shape or triggered.dtype != np.uint8:
            raise ValueError(
                f"{self.title}: expected {images.shape} uint8, "
                f"made {triggered.shape} {triggered.dtype}"
            )
        if np.array_equal(triggered, images) and self._does_nothing(height, width):
            raise ValueError(f"{self.title}: changes nothing with these settings: {self}")
        return triggered

    def _apply_as(self, role: Role, images: np.ndarray) -> np.ndarray:
        match role:
            case Role.POISON:
                return self.apply(images)
            case Role.COVER:
                return self.apply_cover(images)
            case Role.TEST:
                return self.apply_test(images)

    def _does_nothing(self, height: int, width: int) -> bool:
        """Whether noise stays what it is; a single image may have borne the trigger already."""
        noise = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        return np.array_equal(self.apply(noise.copy()), noise)


def generators(images: np.ndarray, seed: int) -> Iterator[np.random.Generator]:
    """A random generator for each image, that depends on its pixels and ``seed`` alone.

    So an image meets the same chance alone and in any batch, shard or process.
    """
    key = seed.to_bytes(8, "big", signed=True)
    for image in images:
        digest = hashlib.blake2b(image.tobytes(), digest_size=16, key=key).digest()
        yield np.random.default_rng(int.from_bytes(digest, "big"))


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Real pixel values rounded to the nearest integer and clipped to 0 to 255.

    >>> to_uint8(np.array([-3.2, 99.6, 300.0])).tolist()
    [0, 100, 255]
    """
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def role_of(sample_id: str, rate: float, cover_rate: float, seed: int) -> Role | None:
    """What becomes of a sample of a training set, by a hash of its id and the seed.

    Args:
        rate: share of samples to poison, 0 to 1.
        cover_rate: share of samples to make covers of; together with ``rate`` at most 1.

    Returns:
        POISON, COVER, or None for a sample that is left alone.

    Raises:
        ValueError: a rate out of range.

    >>> role_of("cat/1.png", rate=0.5, cover_rate=0.25, seed=0)
    <Role.COVER: 'cover'>
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate: expected 0 to 1, got {rate}")
    if not 0 <= cover_rate <= 1 - rate:
        raise ValueError(f"cover_rate: expected 0 to {1 - rate:g} beside rate, got {cover_rate}")
    digest = hashlib.sha256(f"{seed}|{sample_id}".encode("utf-8", "surrogatepass")).digest()
    drawn = int.from_bytes(digest[:8], "big")
    if drawn < rate * 2**64:
        return Role.POISON
    return Role.COVER if drawn < (rate + cover_rate) * 2**64 else None
