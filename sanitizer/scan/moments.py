"""Counts, sums and sums of products: all that a mean and a covariance need, and they add up."""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Moments:
    """The first two moments of vectors, in a form that is exact under merging.

    Moments of parts add to those of the whole in any order, and those of a class come off those
    of the set, within the rounding of float64.
    """

    count: int
    total: np.ndarray  #: (d,) float64, sum of the vectors
    products: np.ndarray  #: (d, d) float64, sum of their outer products

    @classmethod
    def none(cls, dimensions: int) -> Self:
        """Of no vectors."""
        return cls(0, np.zeros(dimensions), np.zeros((dimensions, dimensions)))

    @classmethod
    def of(cls, vectors: np.ndarray) -> Self:
        """Args: vectors: (n, d), any real dtype."""
        # float32 products are exact enough when their sums are float64, chunk by chunk.
        products = np.zeros((vectors.shape[1],) * 2)
        for start in range(0, len(vectors), ROWS):
            chunk = vectors[start : start + ROWS]
            if chunk.dtype == np.float16:
                chunk = chunk.astype(np.float32)
            products += chunk.T @ chunk
        return cls(len(vectors), vectors.sum(0, dtype=np.float64), products)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.count + other.count, self.total + other.total, self.products + other.products
        )

    def __sub__(self, other: Self) -> Self:
        return type(self)(
            self.count - other.count, self.total - other.total, self.products - other.products
        )

    @property
    def mean(self) -> np.ndarray:
        """(d,) float64."""
        return self.total / self.count

    @property
    def covariance(self) -> np.ndarray:
        """(d, d) float64, symmetric, of the population."""
        covariance = self.products / self.count - np.outer(self.mean, self.mean)
        return (covariance + covariance.T) / 2


#: Vectors that are taken at a time.
ROWS = 1024

#: Of a triangular matrix so many columns are multiplied at a time, by the rows above its diagonal.
COLUMNS = 128

#: Share of the mean variance that is added to each, at least, so that directions without variance
#: are not blown up; of images that are all alike it is a share of this variance.
LEAST_RIDGE, LEAST_VARIANCE = 0.01, 1e-3

#: The same for each dimension a vector: of few vectors the least variances come out too small. On
#: 1,000 images, 0.4 sees a trigger in all views and 0.01 in one.
RIDGE_OF_FEW = 0.4


@dataclass(frozen=True)
class Whitening:
    """A linear map after which the vectors of some population are uncorrelated, of variance 1.

    In whitened vectors a matched filter for a shift is the shift itself, and what two views or
    classes show can be compared.
    """

    mean: np.ndarray  #: (d,) float32
    matrix: np.ndarray  #: (d, d) float32, upper triangular; ``(x - mean) @ matrix`` is white

    @classmethod
    def by(cls, moments: Moments) -> Self:
        """Whitening of a population by the Cholesky factor of its covariance."""
        from scipy.linalg.lapack import dtrtri  # takes a while to load

        covariance = moments.covariance
        dimensions = len(covariance)
        ridge = max(LEAST_RIDGE, RIDGE_OF_FEW * dimensions / moments.count)
        variance = max(np.trace(covariance) / dimensions, LEAST_VARIANCE)
        covariance[np.diag_indices(dimensions)] += ridge * variance
        # The inverse of a triangle takes a sixth of the time of that of any matrix.
        matrix, _ = dtrtri(np.linalg.cholesky(covariance).T, overwrite_c=True)
        return cls(moments.mean.astype(np.float32), np.ascontiguousarray(matrix, np.float32))

    def __call__(self, vectors: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(n, d) float32, whitened; ``out`` may be the vectors."""
        dimensions = len(self.matrix)
        white = np.empty((len(vectors), dimensions), np.float32) if out is None else out
        for start in range(0, len(vectors), ROWS):
            centred = vectors[start : start + ROWS] - self.mean
            for left in range(0, dimensions, COLUMNS):
                right = left + COLUMNS
                white[start : start + ROWS, left:right] = (
                    centred[:, :right] @ self.matrix[:right, left:right]
                )
        return white
