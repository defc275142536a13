"""The scores of images: that of its most suspicious part each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

#: Decimals of a score.
DECIMALS = 6


@dataclass(frozen=True)
class Scores:
    """The scores of n images.

    >>> Scores.worst(np.array([0.1, 0.7, 0.2], np.float32), np.array([2, 1])).values.tolist()
    [0.699999988079071, 0.20000000298023224]
    """

    values: np.ndarray  #: (n,) float32, 0 to 1, higher is more suspicious
    parts: np.ndarray  #: (n,) int64, how many parts each image was cut into

    @classmethod
    def worst(cls, part_scores: np.ndarray, parts: np.ndarray) -> Self:
        """Scores of images from those of their parts.

        Args:
            part_scores: (m,) float32, those of one image next to each other.
            parts: (n,) int, how many of them each image has, at least 1; they add up to m.
        """
        parts = np.asarray(parts, np.int64)
        if not len(parts):
            return cls(np.zeros(0, np.float32), parts)
        starts = np.cumsum(parts) - parts
        return cls(np.maximum.reduceat(part_scores, starts), parts)

    @classmethod
    def joined(cls, several: Iterable["Scores"]) -> Self:
        """Scores of the images of several batches, in order."""
        values, parts = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
        for scores in several:
            values.append(scores.values)
            parts.append(scores.parts)
        return cls(np.concatenate(values), np.concatenate(parts))

    def __len__(self) -> int:
        return len(self.values)
