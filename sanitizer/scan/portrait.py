"""What images that carry a trigger look like, beside what they would look like without it.

What such images would be without their trigger is not known, but what images of the same content
are on average is: where an attacker has changed the labels, that of other classes, else that of
the others of the class. What is left when one mean is taken off the other is the trigger, and
chance; of a few hundred photographs chance leaves a coloured haze, which is told from the trigger
by its size in each frequency.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.dct import dct2, dct_matrix
from sanitizer.scan.canonical import Compact
from sanitizer.scan.views import OPPONENT, SIDE, fine_detail

#: A frequency is held to be the trigger's where the difference is this many standard errors:
#: of the 3,072 of an image chance lets 0.2 pass.
CERTAIN = 4.0

#: Where pixels vary by less than this share of what is expected something opaque covers them.
OPAQUE = 0.25

#: Decimals of a portrait: sums of parts differ in the last digits by the order of the parts, and
#: files of the same finding would, too.
DECIMALS = 7


@dataclass(frozen=True)
class Likeness:
    """Sums over images, from which their means follow; they add up in any order."""

    images: int
    coefficients: np.ndarray  #: (3, 32, 32) float64, sum of the DCT of the opponent colours
    squares: np.ndarray  #: (3, 32, 32) float64, sum of the squares of them
    pixel_squares: np.ndarray  #: (32, 32, 3) float64, sum of the squares of the pixels
    spectrum: np.ndarray  #: (32, 32) float64, sum of the log magnitudes of the luma's DCT
    detail: np.ndarray  #: (32, 32) float64, sum of the log magnitudes of second differences
    values: np.ndarray  #: (256,) float64, how often each value occurs

    @classmethod
    def of(cls, images: Compact) -> Self:
        """The sums over some images."""
        total = cls.none()
        for _, batch in images.batches():
            coefficients = batch.coefficients.astype(np.float64)
            total += cls(
                images=len(batch.pixels),
                coefficients=coefficients.sum(-1),
                squares=(coefficients**2).sum(-1),
                pixel_squares=(batch.pixels.astype(np.float64) ** 2).sum(0),
                spectrum=np.log1p(np.abs(coefficients[0])).sum(-1),
                detail=fine_detail(batch).mean(0).sum(-1, dtype=np.float64),
                values=np.bincount(batch.pixels.ravel(), minlength=256).astype(np.float64),
            )
        return total

    @classmethod
    def none(cls) -> Self:
        """Of no image."""
        plane, planes = np.zeros((SIDE, SIDE)), np.zeros((3, SIDE, SIDE))
        return cls(0, planes, planes, np.zeros((SIDE, SIDE, 3)), plane, plane, np.zeros(256))

    def __add__(self, other: Self) -> Self:
        sums = (a + b for a, b in zip(_sums(self), _sums(other), strict=True))
        return type(self)(self.images + other.images, *sums)

    @property
    def mean(self) -> Self:
        """The same of one image, as all are on average; of none all is 0."""
        return type(self)(1, *(a / max(1, self.images) for a in _sums(self)))

    @property
    def pixels(self) -> np.ndarray:
        """(32, 32, 3) float64, sum of the pixels."""
        return _picture(self.coefficients)

    @property
    def spread(self) -> np.ndarray:
        """(32, 32) standard deviation of the pixels over the images, root mean square of colours.

        Of one image; the spread of a sum means nothing.
        """
        variance = (self.pixel_squares - self.pixels**2).mean(-1)
        return np.sqrt(np.maximum(variance, 0))


def _sums(likeness: Likeness) -> list[np.ndarray]:
    return [value for name, value in vars(likeness).items() if name != "images"]


def _picture(coefficients: np.ndarray) -> np.ndarray:
    """(32, 32, 3) colours of the (3, 32, 32) DCT of opponent ones."""
    matrix = dct_matrix(SIDE)
    return np.moveaxis(matrix.T @ coefficients @ matrix, 0, -1) @ OPPONENT


@dataclass(frozen=True)
class Portrait:
    """Images that carry a trigger, the others of their class, and what would be expected of them.

    *Expected* is the mean of images with the same content and without the trigger.
    """

    carriers: np.ndarray  #: (32, 32, 3) float32, mean, 0 to 255
    others: np.ndarray  #: (32, 32, 3) float32, mean of the others of the class
    difference: np.ndarray  #: (32, 32, 3) float32, carriers less what is expected
    #: (32, 32, 3) float32, what of it chance does not explain: all where something opaque covers
    #: the images, elsewhere the frequencies that are certain
    trigger: np.ndarray
    spread: np.ndarray  #: (32, 32) float32, how much pixels vary among carriers, 1: as expected
    detail: np.ndarray  #: (32, 32) float32, log of how much sharper carriers are than expected
    spectrum: np.ndarray  #: (32, 32) float32, log magnitudes of the luma's DCT of the carriers
    expected_spectrum: np.ndarray  #: (32, 32) float32
    values: np.ndarray  #: (256,) float32, share of each value among the carriers' pixels
    expected_values: np.ndarray  #: (256,) float32

    @classmethod
    def of(cls, carriers: Likeness, others: Likeness, expected: Likeness) -> Self:
        """Compare images that carry a trigger with some that do not.

        Args:
            carriers: images of a class that carry it.
            others: the other images of the class.
            expected: images with content like that of the carriers: the others, or other classes'.
        """
        own, usual = carriers.mean, expected.mean
        difference = own.pixels - usual.pixels
        spread = own.spread / np.maximum(usual.spread, 1)
        covered = _covered(spread)
        error = np.sqrt(_error_squared(carriers) + _error_squared(expected))
        beside = dct2((np.where(covered, 0, difference) @ OPPONENT.T)[None])[0]
        certain = _picture(np.where(np.abs(beside) >= CERTAIN * error, beside, 0))
        return cls(
            *(
                np.round(value, DECIMALS).astype(np.float32)
                for value in (
                    own.pixels,
                    others.mean.pixels,
                    difference,
                    np.where(covered, difference, certain),
                    spread,
                    own.detail - usual.detail,
                    own.spectrum,
                    usual.spectrum,
                    own.values / (3 * SIDE**2),
                    usual.values / (3 * SIDE**2),
                )
            )
        )

    @property
    def covered(self) -> np.ndarray:
        """(32, 32) bool: where something opaque covers what is below."""
        return _covered(self.spread)[..., 0]

    def tensors(self) -> dict[str, np.ndarray]:
        """All of it as named arrays, to be stored beside those of a signature."""
        return {_stored(name): value for name, value in vars(self).items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Self:
        """The portrait that :meth:`tensors` gave.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is of another shape or holds numbers that are not finite.
        """
        shapes = vars(cls.of(*(Likeness.none(),) * 3))
        for name, like in shapes.items():
            found = tensors[_stored(name)]
            if found.shape != like.shape:
                raise ValueError(
                    f"{_stored(name)!r} has shape {found.shape}, expected {like.shape}"
                )
            if not np.isfinite(found).all():
                raise ValueError(f"{_stored(name)!r} holds numbers that are not finite")
        return cls(**{name: tensors[_stored(name)] for name in shapes})


def _covered(spread: np.ndarray) -> np.ndarray:
    """(32, 32, 1) bool."""
    return (spread < OPAQUE)[..., None]


def _error_squared(likeness: Likeness) -> np.ndarray:
    """(3, 32, 32): the variance of the mean of each coefficient."""
    mean = likeness.mean
    return np.maximum(mean.squares - mean.coefficients**2, 0) / max(1, likeness.images)


def _stored(name: str) -> str:
    return f"portrait {name.replace('_', ' ')}"
