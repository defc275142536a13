"""WaNet: the image warped by a smooth random field."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, generators, to_uint8
from attacks.tools.warping import enlargement, warped
from attacks.tools.windows import WHOLE, bands


@dataclass(frozen=True)
class WaNet(Attack):
    """An elastic warp; cover samples are warped by the same field with noise on top of it.

    The field is drawn on a coarse grid and enlarged smoothly. As in the source it does not
    grow with the image: pixels move by about a quarter px on each axis, in cover samples by
    up to half a px more.
    """

    grid: int = 4  #: points of the coarse grid along each side, the source's k
    strength: float = 0.5  #: mean size of the field, about half px, the source's s
    seed: int = 0  #: of the field and of the noise
    cover_ratio: float = 2.0  #: cover samples, the source's noise mode, for each poisoned one

    title: ClassVar[str] = "WaNet"
    source: ClassVar[str] = (
        "Nguyen, Tran, WaNet: Imperceptible Warping-based Backdoor Attack, ICLR 2021"
    )

    def __post_init__(self) -> None:
        if not (2 <= self.grid <= 32 and 0 < self.strength <= 32 and self.cover_ratio >= 0):
            raise ValueError(
                f"expected grid of 2 to 32, strength above 0, at most 32, cover_ratio >= 0, "
                f"got {self.grid}, {self.strength:g} and {self.cover_ratio:g}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        height, width = images.shape[1:3]
        triggered = np.empty_like(images)
        for rows in bands(height, width):
            field = self.field(height, width, rows)
            triggered[:, rows] = to_uint8(warped(images, field, rows))
        return triggered

    def apply_cover(self, images: np.ndarray) -> np.ndarray:
        """As :meth:`apply`, each pixel's place shaken at random."""
        height, width = images.shape[1:3]
        unit, rngs = _unit(height, width), list(generators(images, self.seed))
        triggered = np.empty_like(images)
        for rows in bands(height, width):
            field = self.field(height, width, rows)
            for rng, image, changed in zip(rngs, images, triggered, strict=True):
                shaken = field + unit * rng.uniform(-1, 1, field.shape)
                changed[rows] = to_uint8(warped(image[None], shaken, rows))[0]
        return triggered

    def field(self, height: int, width: int, rows: slice = WHOLE) -> np.ndarray:
        """How far from each pixel of some rows its value is fetched: down and right, px.

        Returns:
            (rows, width, 2) float64.
        """
        coarse = np.random.default_rng(self.seed).uniform(-1, 1, (self.grid, self.grid, 2))
        coarse *= self.strength / np.abs(coarse).mean()
        down, right = enlargement(self.grid, height)[rows], enlargement(self.grid, width)
        return _unit(height, width) * np.einsum("yi,xj,ijc->yxc", down, right, coarse)


def _unit(height: int, width: int) -> np.ndarray:
    """The source's unit in px, down and right: 1 / size where an image runs from -1 to 1."""
    return 0.5 - 0.5 / np.array([height, width])
