"""From what the network says of the parts of an image to what is said of the whole.

A patch is in one part or two, and a layer in all of them; what was made at the size at which a
model trains shows where the image is shrunk. So four figures are taken of the logits of an image:
the largest, the mean of the largest eighth and the mean of all tiles of its own pixels, and the
largest of the coarser levels. Each counts by how unusual it is for clean images of as many parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from msgspec import Meta

from detector.inputs import About
from sanitizer.record import Record

#: Figures of an image, see :func:`figures`.
FIGURES = 4

#: How clear a flat square (:mod:`detector.flat_squares`) may be on a clean image: one of 3 px that
#: stands out in full has 60. What is above adds to the logit, up to a most.
FLAT_FROM, FLAT_LOGITS, MOST_FLAT = 40.0, 0.2, 8.0

Finite = Annotated[float, Meta(ge=-1e9, le=1e9)]
Spread = Annotated[float, Meta(ge=1e-3, le=1e9)]


@dataclass(frozen=True)
class Scale(Record):
    """Where figures of clean images lie."""

    middle: tuple[Finite, ...]
    spread: tuple[Spread, ...]  #: standard deviation

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Of (n, k) figures of n clean images."""
        spread = np.maximum(values.std(0), 1e-3)
        return cls(*(tuple(round(float(v), 6) for v in of) for of in (values.mean(0), spread)))

    def standard(self, values: np.ndarray) -> np.ndarray:
        """(n, k) in standard deviations from the mean of clean images."""
        return np.asarray((values - np.array(self.middle)) / np.array(self.spread))


@dataclass(frozen=True)
class Combination(Record):
    """How the parts of images of a range of sizes add up.

    Raises:
        ValueError: another number of figures, or no range of parts.
    """

    parts: tuple[int, int]  #: numbers of parts that it is for, one of ``PART_RANGES``
    figures: Scale  #: of clean images
    total: Scale  #: of the sum of their standardised figures
    single: Scale  #: of the logits of clean images of one part, on which scale the result is

    def __post_init__(self) -> None:
        numbers = [len(s.middle) for s in (self.figures, self.total, self.single)]
        numbers += [len(s.spread) for s in (self.figures, self.total, self.single)]
        if numbers != [FIGURES, 1, 1] * 2:
            raise ValueError(f"combination: expected {FIGURES} figures, a total and a single one")
        if not 1 < self.parts[0] <= self.parts[1]:
            raise ValueError(f"combination: expected 2 <= min <= max parts, got {self.parts}")

    @classmethod
    def of(cls, parts: tuple[int, int], clean: np.ndarray, single: Scale) -> Self:
        """Learnt from clean images.

        Args:
            clean: (n, FIGURES) their figures.
            single: of the logits of those that have one part.
        """
        figures = Scale.of(clean)
        return cls(parts, figures, Scale.of(_total(figures, clean)), single)

    def logits(self, values: np.ndarray) -> np.ndarray:
        """(n,) logits of images with these (n, FIGURES) figures."""
        total = self.total.standard(_total(self.figures, values))
        return (total * np.array(self.single.spread) + np.array(self.single.middle))[:, 0]


def combined(
    logits: Sequence[np.ndarray], about: Sequence[About], combinations: Sequence[Combination]
) -> np.ndarray:
    """One logit for each of n images, (n,) float64: of the only part, or of all together.

    Where nothing is known of clean images of its size, the most suspicious part speaks. A flat
    square adds to either.

    Args:
        logits: of the parts of each image, (k,) float64, k at least 1; those of its own pixels
            first.
        about: each image.
    """
    together = np.array([of_image.max() for of_image in logits], np.float64)
    numbers = np.array([len(of_image) for of_image in logits])
    for one in combinations:
        low, high = one.parts
        mine = np.flatnonzero((numbers >= max(low, 2)) & (numbers <= high)).tolist()
        if mine:
            together[mine] = one.logits(
                figures([logits[i] for i in mine], [about[i].native for i in mine])
            )
    return together + np.array([_of_square(image.flat) for image in about])


def _of_square(flat: float) -> float:
    return min(max(0.0, flat - FLAT_FROM) * FLAT_LOGITS, MOST_FLAT)


def figures(logits: Sequence[np.ndarray], natives: Sequence[int]) -> np.ndarray:
    """(n, FIGURES) of the logits of n images of two parts and more.

    >>> figures([np.array([3.0, 1.0, 0.0])], [2]).tolist()
    [[3.0, 2.0, 2.0, 0.0]]
    """
    rows = []
    for of_image, native in zip(logits, natives, strict=True):
        own = np.sort(of_image[:native])[::-1]
        highest = own[: max(2, round(len(own) / 8))]
        rows.append((own[0], highest.mean(), own.mean(), of_image[native:].max()))
    return np.array(rows)


def _total(scale: Scale, values: np.ndarray) -> np.ndarray:
    return scale.standard(values).sum(1, keepdims=True)
