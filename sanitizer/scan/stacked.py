"""Vectors of which some stand behind others, about a mean that is not taken off one by one.

A class of photographs takes tens of megabytes in all views. Seen together with images of others,
or about another mean, it is not copied: what is done with vectors is linear, and can be done part
by part, the mean taken off at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Stacked:
    """n vectors of d numbers, in order."""

    parts: Sequence[np.ndarray]  #: each (m, d) float32
    origin: np.ndarray  #: (d,) float32, to be taken off each vector

    @classmethod
    def of(cls, vectors: np.ndarray) -> Self:
        """Args: vectors: (n, d) float32, as they are."""
        return cls((vectors,), np.zeros(vectors.shape[1], np.float32))

    @classmethod
    def about_mean(cls, parts: Sequence[np.ndarray]) -> Self:
        """Args: parts: each (m, d) float32, as they are."""
        total = np.sum([part.sum(0) for part in parts], 0)
        return cls(parts, total / np.float32(sum(map(len, parts))))

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def array(self) -> np.ndarray:
        """(n, d) float32: a copy of all."""
        vectors = np.concatenate(self.parts)
        vectors -= self.origin
        return vectors

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        """(k, d): a copy of the vectors that (n,) bool says."""
        ends = np.cumsum([len(part) for part in self.parts])[:-1]
        kept = zip(self.parts, np.split(chosen, ends), strict=True)
        vectors = np.concatenate([part[own] for part, own in kept])
        vectors -= self.origin
        return vectors

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        """(k, d) float32: sums of the vectors by (k, n) float32 weights."""
        sums = -weights.sum(1, keepdims=True) * self.origin
        start = 0
        for part in self.parts:
            sums += weights[:, start : start + len(part)] @ part
            start += len(part)
        return sums

    def along(self, directions: np.ndarray) -> np.ndarray:
        """(k, n) float32: the vectors along (k, d) float32 directions."""
        places = np.empty((len(directions), len(self)), np.float32)
        start = 0
        for part in self.parts:
            places[:, start : start + len(part)] = directions @ part.T
            start += len(part)
        places -= (directions @ self.origin)[:, None]
        return places

    def squares(self) -> np.ndarray:
        """(n,) float32: squared lengths."""
        lengths = np.concatenate([np.einsum("nd,nd->n", part, part) for part in self.parts])
        if self.origin.any():
            lengths += self.origin @ self.origin
            lengths -= 2 * (self.along(self.origin[None])[0] + self.origin @ self.origin)
        return lengths
