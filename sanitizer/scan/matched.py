"""The matched filter of a group: how far each image of a class lies along what the group shares."""

from dataclasses import dataclass

import numpy as np

from sanitizer.scan.search import Subspace

#: Added to the variances in the subspace, which few images make too small.
RIDGE = 0.05

#: No filter is shorter, so that nothing is divided by 0 where all images are alike.
SHORTEST = 1e-9

#: Share of the variance along a filter that is between the groups, at most: the rest is noise, and
#: is divided by.
MOST_BETWEEN = 0.95


@dataclass(frozen=True)
class Filtered:
    """A class seen along the directions of k groups."""

    scores: np.ndarray  #: (n, k) float32, each by the filter that all other images make
    directions: np.ndarray  #: (d, k) float32, columns of unit length


def matched_filters(
    inside: np.ndarray, squares: np.ndarray, suspects: np.ndarray, subspace: Subspace
) -> Filtered:
    """Score each image of a class along the difference between each group and the others.

    The filter is Fisher's discriminant (Annals of Eugenics 7, 1936), with the identity for the
    covariance within the groups, since the view is whitened, but in the subspace, where the class
    varies more and its covariance is measured. An image's own part in both means is taken out of
    its score: in hundreds of dimensions a mean lies nearer to each image it is made of, and any
    group would confirm itself.

    Args:
        inside: (n, d) float32, whitened view of a class, of mean 0.
        squares: (n,), squared length of each.
        suspects: (n, k) float32, probabilities of being in each group; no group and no rest of
            one is empty.
        subspace: of ``inside``.
    """
    n, weights = len(inside), suspects.sum(0)
    shares, others = weights / n, n - weights
    # The class has mean 0, so both means lie on the line of the difference between them.
    shifts = inside.T @ (suspects / others * (n / weights))
    principal = subspace.basis.T @ shifts
    precise = principal / (subspace.variances + RIDGE)[:, None]
    between = np.minimum(shares * (1 - shares) * (precise * principal).sum(0), MOST_BETWEEN)
    directions = shifts + subspace.basis @ (precise / (1 - between) - principal)
    along = inside @ directions
    # What the same inverse covariance makes of an image's own square.
    projected = inside @ subspace.basis
    extra = ((1 / (subspace.variances + RIDGE) - 1) * projected**2).sum(1)
    spread = shares * (1 - shares) / (1 - between)
    own = (squares + extra)[:, None] + spread * (projected @ precise) ** 2
    to_few = (weights * (1 - shares) * along - suspects * own) / np.maximum(
        weights - suspects, 1e-3
    )
    to_many = (-others * shares * along - (1 - suspects) * own) / np.maximum(
        others - (1 - suspects), 1e-3
    )
    lengths = np.maximum(np.linalg.norm(directions, axis=0), SHORTEST)
    return Filtered((to_few - to_many) / lengths, directions / lengths)
