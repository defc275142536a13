"""Adaptive blend: a cartoon mixed into half of the image's pieces, hidden by cover samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from attacks.base import Attack, generators
from attacks.blend import cartoon
from attacks.tools.windows import changed


@dataclass(frozen=True)
class AdaptiveBlend(Attack):
    """Blend in a random half of 4x4 pieces of each training image, and whole at test time.

    Cover samples get the same and keep their labels, so that the trigger alone does not set
    the poisoned ones apart in a network's features.
    """

    alpha: float = 0.15  #: weight of the cartoon in training images
    alpha_test: float = 0.2  #: weight of the cartoon at test time
    pieces: int = 4  #: along each side of the image
    masked: float = 0.5  #: share of the pieces that stay as they are, 0 to below 1
    seed: int = 0  #: of which pieces
    cover_ratio: float = 1.0  #: cover samples for each poisoned one

    title: ClassVar[str] = "Adaptive blend"
    source: ClassVar[str] = (
        "Qi, Xie, Li, Mahloujifar, Mittal, Revisiting the Assumption of Latent Separability for "
        "Backdoor Defenses, ICLR 2023 (Adap-Blend); our own cartoon, drawn by rule"
    )

    def __post_init__(self) -> None:
        if not (0 < self.alpha <= 1 and 0 < self.alpha_test <= 1):
            raise ValueError(
                f"expected alpha and alpha_test above 0, at most 1, "
                f"got {self.alpha:g} and {self.alpha_test:g}"
            )
        if not (0 <= self.masked < 1 and 1 <= self.pieces <= 8 and self.cover_ratio >= 0):
            raise ValueError(
                f"expected masked of 0 to below 1, pieces of 1 to 8, cover_ratio >= 0, "
                f"got {self.masked:g}, {self.pieces} and {self.cover_ratio:g}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Triggered copies of (n, h, w, 3) uint8 images; same shape and dtype."""
        height, width = images.shape[1:3]
        down, right = (np.arange(side) * self.pieces // side for side in (height, width))
        weights = self.alpha * self._kept(images)

        def weight(rows: slice, columns: slice) -> np.ndarray:
            return weights[:, down[rows, None] * self.pieces + right[columns], None]

        return _mixed(images, weight)

    def apply_test(self, images: np.ndarray) -> np.ndarray:
        """As :meth:`apply`, the whole cartoon with ``alpha_test``."""
        return _mixed(images, lambda rows, columns: np.float32(self.alpha_test))

    def _kept(self, images: np.ndarray) -> np.ndarray:
        """1 for the pieces of each image that bear the cartoon, (n, pieces) float32."""
        kept = np.ones((len(images), self.pieces**2), np.float32)
        for row, rng in zip(kept, generators(images, self.seed), strict=True):
            row[rng.permutation(row.size)[: round(self.masked * row.size)]] = 0
        return kept


def _mixed(
    images: np.ndarray, weight: Callable[[slice, slice], np.ndarray | np.float32]
) -> np.ndarray:
    """Images with the cartoon, by its weight in some rows and columns."""
    height, width = images.shape[1:3]

    def mixed(rows: slice, columns: slice) -> np.ndarray:
        scene = images[:, rows, columns]
        picture = cartoon(height, width, rows, columns)
        return scene + weight(rows, columns) * (picture - scene)

    return changed(images, mixed)
