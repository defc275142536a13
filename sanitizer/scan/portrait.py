"""What the images that carry a trigger look like, beside the others of their class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.scan.canonical import Compact
from sanitizer.scan.views import SIDE


@dataclass(frozen=True)
class Likeness:
    """Sums over images, from which their means follow; they add up in any order."""

    images: int
    pixels: np.ndarray  #: (32, 32, 3) float64, sum of the pixels
    spectrum: np.ndarray  #: (32, 32) float64, sum of the log magnitudes of the luma's DCT

    @classmethod
    def of(cls, images: Compact) -> Self:
        """The sums over some images."""
        spectrum = np.zeros((SIDE, SIDE))
        for _, batch in images.batches():
            spectrum += np.log1p(np.abs(batch.coefficients[:, 0])).sum(0)
        return cls(len(images), images.pixels.sum(0, dtype=np.float64), spectrum)

    @classmethod
    def none(cls) -> Self:
        """Of no image."""
        return cls.of(Compact(np.empty((0, SIDE, SIDE, 3), np.uint8)))

    def __add__(self, other: "Likeness") -> "Likeness":
        return Likeness(
            self.images + other.images,
            self.pixels + other.pixels,
            self.spectrum + other.spectrum,
        )


@dataclass(frozen=True)
class Portrait:
    """Means of the images that carry a trigger and of the others of their class."""

    carriers: np.ndarray  #: (32, 32, 3) float32, 0 to 255
    others: np.ndarray  #: (32, 32, 3) float32, 0 to 255
    carriers_spectrum: np.ndarray  #: (32, 32) float32, log magnitudes of the luma
    others_spectrum: np.ndarray  #: (32, 32) float32

    @classmethod
    def of(cls, carriers: Likeness, others: Likeness) -> Self:
        """The means of both; of none they are 0."""
        pair = carriers, others
        pixels = [(one.pixels / max(1, one.images)).astype(np.float32) for one in pair]
        spectra = [(one.spectrum / max(1, one.images)).astype(np.float32) for one in pair]
        return cls(*pixels, *spectra)

    def tensors(self) -> dict[str, np.ndarray]:
        """All of it as named arrays, to be stored beside those of a signature."""
        return {f"mean of {name}": value for name, value in vars(self).items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Self:
        """The portrait that :meth:`tensors` gave.

        Raises:
            KeyError: an array is missing.
        """
        names = cls.__dataclass_fields__
        return cls(**{name: tensors[f"mean of {name}"] for name in names})
