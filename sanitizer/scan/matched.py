"""The matched filter of a group: how far each image of a class lies along what the group shares."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sanitizer.scan.search import Subspace
from sanitizer.scan.stacked import Stacked

#: Added to the variances in the subspace, which few images make too small.
RIDGE = 0.05

#: No filter is shorter, so that nothing is divided by 0 where all images are alike.
SHORTEST = 1e-9

#: Share of the variance along a filter that is between the groups, at most: the rest is noise, and
#: is divided by.
MOST_BETWEEN = 0.95


#: Of a group, or the others of its class, less one image, so that nothing is divided by 0.
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class Suspects:
    """Groups of a class, and what leaving an image out of its own score takes, in every view."""

    members: np.ndarray  #: (k, n) float32, probabilities of being in each group
    shares: np.ndarray  #: (k,) float32, of the class that is in each
    #: (k, n) float32, by which what an image shows along a filter counts, and its own square
    by_others: np.ndarray
    by_itself: np.ndarray

    @classmethod
    def of(cls, members: np.ndarray) -> Self:
        """Args: members: (k, n) float32; no group and no rest of one is empty."""
        n, weights = members.shape[1], members.sum(1, keepdims=True)
        of_few = 1 / np.maximum(weights - members, LEAST_WEIGHT)
        of_many = 1 / np.maximum(n - weights - (1 - members), LEAST_WEIGHT)
        by_others = of_few + of_many
        by_others *= weights * (n - weights) / n
        by_itself = members * of_few - (1 - members) * of_many
        return cls(members, weights[:, 0] / n, by_others, by_itself)


@dataclass(frozen=True)
class Filtered:
    """A class seen along the directions of k groups."""

    scores: np.ndarray  #: (k, n) float32, each by the filter that all other images make
    directions: np.ndarray  #: (k, d) float32, of unit length


def precise_squares(
    squares: np.ndarray, projected: np.ndarray, variances: np.ndarray
) -> np.ndarray:
    """(n,) squared lengths of vectors by the inverse covariance that filters are made with.

    Args:
        squares: (n,) squared lengths as they are.
        projected: (n, s), the vectors in the subspace.
        variances: (s,) of the class there.
    """
    return squares + projected**2 @ (1 / (variances + RIDGE) - 1)


def matched_filters(
    inside: Stacked,
    projected: np.ndarray,
    squares: np.ndarray,
    suspects: Suspects,
    subspace: Subspace,
) -> Filtered:
    """Score each image of a class along the difference between each group and the others.

    The filter is Fisher's discriminant (Annals of Eugenics 7, 1936), with the identity for the
    covariance within the groups, since the view is whitened, but in the subspace, where the class
    varies more and its covariance is measured. An image's own part in both means is taken out of
    its score: in hundreds of dimensions a mean lies nearer to each image it is made of, and any
    group would confirm itself.

    Args:
        inside: n whitened vectors of a class, of mean 0.
        projected: (n, s) float32, the same in the subspace.
        squares: (n,), :func:`precise_squares` of each.
        suspects: the groups.
        subspace: of ``inside``.
    """
    shares = suspects.shares[:, None]
    between = shares * (1 - shares)
    # The class has mean 0, so both means lie on the line of the difference between them.
    directions = inside.weighted(suspects.members)
    directions /= between * len(inside)
    principal = directions @ subspace.basis
    precise = principal / (subspace.variances + RIDGE)
    along = np.minimum(between * (precise * principal).sum(1, keepdims=True), MOST_BETWEEN)
    directions += (precise / (1 - along) - principal) @ subspace.basis.T
    lengths = np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), SHORTEST)
    directions /= lengths
    # What the same inverse covariance makes of an image's own square.
    own = (precise * np.sqrt(between / (1 - along) / lengths)) @ projected.T
    own *= own
    own += squares / lengths
    own *= suspects.by_itself
    scores = inside.along(directions)
    scores *= suspects.by_others
    scores -= own
    return Filtered(scores, directions)
