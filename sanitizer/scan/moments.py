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
    def of(cls, vectors: np.ndarray) -> Self:
        """Args: vectors: (n, d), any real dtype."""
        # float32 products are exact enough when their sums are float64, chunk by chunk.
        products = np.zeros((vectors.shape[1],) * 2)
        for start in range(0, len(vectors), 1024):
            chunk = vectors[start : start + 1024]
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
    matrix: np.ndarray  #: (d, d) float32, ``(x - mean) @ matrix`` is white

    @classmethod
    def by(cls, moments: Moments) -> Self:
        """Whitening of a population by the Cholesky factor of its covariance."""
        from scipy.linalg import solve_triangular  # takes a while to load

        covariance = moments.covariance
        dimensions = len(covariance)
        ridge = max(LEAST_RIDGE, RIDGE_OF_FEW * dimensions / moments.count)
        variance = max(np.trace(covariance) / dimensions, LEAST_VARIANCE)
        covariance[np.diag_indices(dimensions)] += ridge * variance
        factor = np.linalg.cholesky(covariance)
        # The inverse of a triangle takes a sixth of the time of that of any matrix.
        matrix = solve_triangular(factor, np.eye(dimensions), lower=True, check_finite=False).T
        return cls(moments.mean.astype(np.float32), matrix.astype(np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(n, d) float32, whitened."""
        return (vectors - self.mean) @ self.matrix
