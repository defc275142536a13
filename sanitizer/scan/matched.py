"""The matched filter of a group: how far each image of a class lies along what the group shares."""

from dataclasses import dataclass

import numpy as np

from sanitizer.scan.mixture import LEAST_WEIGHT
from sanitizer.scan.search import Subspace

#: Added to the variances within the groups, which few images make too small.
WITHIN_RIDGE = 0.05


@dataclass(frozen=True)
class Filtered:
    """A class seen along one direction."""

    scores: np.ndarray  #: (n,) float32, each by the filter that all other images make
    direction: np.ndarray  #: (d,) float32, of unit length


def matched_filter(
    inside: np.ndarray, squares: np.ndarray, suspects: np.ndarray, subspace: Subspace
) -> Filtered | None:
    """Score each image of a class along the difference between a group and the others.

    The filter is Fisher's discriminant (Annals of Eugenics 7, 1936), with the identity for the
    covariance within the groups, since the view is whitened, but in the subspace, where the class
    varies more and its covariance is measured. An image's own part in both means is taken out of
    its score: in hundreds of dimensions a mean lies nearer to each image it is made of, and any
    group would confirm itself.

    Args:
        inside: (n, d) float32, whitened view of a class, of mean 0.
        squares: (n,), squared length of each.
        suspects: (n,) float32, probabilities of being in the group.
        subspace: of ``inside``.

    Returns:
        None where the group, or what is outside it, is too small to have a mean.
    """
    n, weight = len(inside), float(suspects.sum())
    if not LEAST_WEIGHT <= weight <= n - LEAST_WEIGHT:
        return None
    basis = subspace.basis
    few, many = suspects @ inside / weight, (1 - suspects) @ inside / (n - weight)
    projected = inside @ basis
    centred = projected - np.outer(suspects, few @ basis) - np.outer(1 - suspects, many @ basis)
    within = centred.T @ centred / n
    within[np.diag_indices_from(within)] += WITHIN_RIDGE
    # The inverse covariance is I + basis @ extra @ basis.T.
    extra = (np.linalg.inv(within) - np.eye(len(within))).astype(np.float32)

    def precise(mean: np.ndarray) -> np.ndarray:
        return mean + basis @ (extra @ (mean @ basis))

    own = squares + ((projected @ extra) * projected).sum(1)
    to_few, to_many = inside @ precise(few), inside @ precise(many)
    without_few = (weight * to_few - suspects * own) / np.maximum(weight - suspects, 1e-3)
    without_many = ((n - weight) * to_many - (1 - suspects) * own) / np.maximum(
        n - weight - (1 - suspects), 1e-3
    )
    direction = precise(few - many)
    length = np.linalg.norm(direction)
    return Filtered((without_few - without_many) / length, direction / length)
