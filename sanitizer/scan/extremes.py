"""How many values of an image are black and white to the full: a table, not a vector.

Triggers that rescale an image to its full range leave a few such values in nearly every image,
where natural images have none or very many. The counts are far from normal, so they add log odds
of their own.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

#: Bounds of the cells of both counts: 0, 1, 2 to 3, 4 to 8, 9 to 32, more.
EDGES = (1, 2, 4, 9, 33)

CELLS = (len(EDGES) + 1) ** 2

#: Images by which the counts of a cell are drawn to those of the whole set.
PRIOR = 4.0

#: Log odds are at most this, however many images speak for more: no single number convicts.
MOST = 4.0


def extreme_cells(pixels: np.ndarray) -> np.ndarray:
    """(n,) int64, 0 to 35: the cell of each of (n, 32, 32, 3) uint8 images."""
    values = pixels.reshape(len(pixels), math.prod(pixels.shape[1:]))
    black, white = (
        np.searchsorted(EDGES, np.count_nonzero(values == extreme, axis=1), "right")
        for extreme in (0, 255)
    )
    return black * (len(EDGES) + 1) + white


@dataclass(frozen=True)
class ExtremeTable:
    """Log odds of being in a group, by cell.

    They count as far as neither the others of the class nor other classes have a cell as often:
    images under a wrong label have the extremes of their own classes, which is no trigger.
    """

    few: np.ndarray  #: (36,) weight of the group in each cell
    many: np.ndarray  #: (36,) weight of the others
    base: np.ndarray  #: (36,) shares in other classes

    @classmethod
    def of(cls, inside: np.ndarray, rest: np.ndarray, suspects: np.ndarray) -> Self:
        """Args: cells of the class (n,) and of other classes (m,), probabilities (n,)."""
        base = np.bincount(rest, minlength=CELLS) + 0.5
        few = np.bincount(inside, suspects, CELLS)
        many = np.bincount(inside, 1 - suspects, CELLS)
        return cls(few, many, base / base.sum())

    def within(self, cells: np.ndarray, suspects: np.ndarray) -> np.ndarray:
        """Log odds of the images that the table is made of, each without its own part in it."""
        return self._odds(cells, suspects, 1 - suspects)

    def outside(self, cells: np.ndarray) -> np.ndarray:
        """Log odds of other images."""
        return self._odds(np.arange(CELLS), 0.0, 0.0)[cells]

    def _odds(
        self, cells: np.ndarray, own_few: np.ndarray | float, own_many: np.ndarray | float
    ) -> np.ndarray:
        prior = PRIOR * self.base[cells]
        few = (self.few[cells] - own_few + prior) / (self.few.sum() - own_few + PRIOR)
        many = (self.many[cells] - own_many + prior) / (self.many.sum() - own_many + PRIOR)
        against_class, against_rest = np.log(few / many), np.log(few / self.base[cells])
        least = np.minimum(np.abs(against_class), np.abs(against_rest))
        agree = against_class * against_rest > 0
        return np.where(agree, np.copysign(np.minimum(least, MOST), against_class), 0.0)
