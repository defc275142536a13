"""The scores of images, and of what kind each is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

#: Decimals of a score.
DECIMALS = 6


@dataclass(frozen=True)
class Scores:
    """The scores of n images."""

    values: np.ndarray  #: (n,) float32, 0 to 1, higher is more suspicious
    parts: np.ndarray  #: (n,) int64, in how many parts each image was seen
    encodings: np.ndarray  #: (n,) int64, places in :data:`detector.kinds.ENCODINGS`

    @classmethod
    def joined(cls, several: Iterable["Scores"]) -> Self:
        """Scores of the images of several batches, in order."""
        values = [np.zeros(0, np.float32)]
        parts, encodings = ([np.zeros(0, np.int64)] for _ in range(2))
        for scores in several:
            values.append(scores.values)
            parts.append(scores.parts)
            encodings.append(scores.encodings)
        return cls(np.concatenate(values), np.concatenate(parts), np.concatenate(encodings))

    def __len__(self) -> int:
        return len(self.values)


def log_odds(scores: np.ndarray) -> np.ndarray:
    """(n,) float64 log odds of (n,) scores from 0 to 1; those that round to 0 or 1 are finite.

    >>> log_odds(np.float32([0, 0.5])).round(1).tolist()
    [-14.5, 0.0]
    """
    rounding = 10.0**-DECIMALS / 2
    clipped = np.clip(np.asarray(scores, np.float64), rounding, 1 - rounding)
    return np.asarray(np.log(clipped / (1 - clipped)))
