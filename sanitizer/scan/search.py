"""Where in a class two groups may be told apart: candidates, from many starts, in one view.

A trigger moves all its images in one direction. The direction is unknown, and in hundreds of
dimensions a few images can be told from the others by chance, so candidates are sought among the
few directions in which the class varies most, and looked at again in all of them elsewhere.
"""

from dataclasses import dataclass

import numpy as np

#: Principal directions that are searched, at most; eight more are computed on the way.
DIRECTIONS = 32

#: Images for each direction, at least.
IMAGES_PER_DIRECTION = 6

#: Rounds of subspace iteration, enough for directions that stand out.
POWER_STEPS = 4

#: Random directions that are turned towards skewness, and rounds of turning.
SKEWED, SKEW_STEPS = 24, 12

#: Where a projection is cut for a start: shares of the class below the cut.
CUTS = (0.5, 0.75, 0.93, 0.98)

#: Steps of each start.
EM_STEPS = 20

#: Images of which all starts are looked at together.
ROWS = 256

#: A group is a candidate if its share of the class, its distance from the others and its images are
#: above the least, and its share below the most.
LEAST_SHARE, MOST_SHARE, LEAST_DISTANCE, LEAST_IMAGES = 0.004, 0.75, 1.8, 8

#: Other classes are like a group where this share of their images would be in it.
LEAST_AMONG_REST = 0.3


@dataclass(frozen=True)
class Subspace:
    """The directions in which a class varies most."""

    variances: np.ndarray  #: (k,) float32, descending
    basis: np.ndarray  #: (d, k) float32, orthonormal columns

    @classmethod
    def of(cls, vectors: np.ndarray, rng: np.random.Generator) -> "Subspace":
        """By randomised subspace iteration (Halko, Martinsson, Tropp, SIAM Review 53, 2011).

        Args:
            vectors: (n, d) float32, of mean 0.
            rng: for the start.
        """
        n, dimensions = vectors.shape
        count = min(DIRECTIONS, n // IMAGES_PER_DIRECTION)
        start = rng.standard_normal((dimensions, count + 8)).astype(np.float32)
        basis = np.linalg.qr(start)[0]
        # Of many vectors the products are made once: each step would take as long.
        products = vectors.T @ vectors if n >= 2 * dimensions else None
        for _ in range(POWER_STEPS):
            turned = vectors.T @ (vectors @ basis) if products is None else products @ basis
            basis = np.linalg.qr(turned)[0]
        if products is None:
            projected = vectors @ basis
            covariance = projected.T @ projected / n
        else:
            covariance = basis.T @ products @ basis / n
        variances, turn = np.linalg.eigh(covariance)
        first = np.argsort(variances)[::-1][:count]
        return cls(variances[first], basis @ turn[:, first])

    @classmethod
    def none(cls, dimensions: int) -> "Subspace":
        """Of vectors that are white."""
        return cls(np.empty(0, np.float32), np.empty((dimensions, 0), np.float32))


@dataclass(frozen=True)
class Candidates:
    """Groups in a class that may share something, each (n,) float32 probabilities."""

    own: list[np.ndarray]  #: that other classes have not, the strongest first
    strange: list[np.ndarray]  #: that other classes are like, the most distant first


def candidates(projected: np.ndarray, outside: np.ndarray, variances: np.ndarray) -> Candidates:
    """Groups in a class that may share something.

    Args:
        projected: (n, k) float32, a class, of mean 0, in the directions in which it varies most.
        outside: (m, k) float32, images of other classes in the same coordinates.
        variances: (k,) of the class.
    """
    groups = _separate(projected, _starts(projected, variances, outside.mean(0)))
    among_rest = (outside @ groups.weights > groups.bound).mean(0)
    found = (
        (groups.share > LEAST_SHARE)
        & (groups.share < MOST_SHARE)
        & (groups.distance > LEAST_DISTANCE)
        & (groups.members.sum(1) > LEAST_IMAGES)
    )
    strengths = np.array(
        [strength(*one) for one in zip(groups.distance, groups.share, among_rest, strict=True)]
    )
    strange = np.where(among_rest >= LEAST_AMONG_REST, groups.distance, 0.0)
    own, others = (
        [groups.members[i] for i in np.argsort(-by, kind="stable") if found[i] and by[i] > 0]
        for by in (strengths, strange)
    )
    return Candidates(own, others)


def strength(distance: float, share: float, among_rest: float) -> float:
    """How far a group stands apart, less where other classes have it too.

    Args:
        distance: of the group from the others, in standard deviations.
        share: of the class that is in the group.
        among_rest: share of the images of other classes that would be in it.
    """
    return distance * max(0.0, 1 - among_rest / share) ** 0.5


def _starts(projected: np.ndarray, variances: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(n, s) float32, 0 or 1: groups to start from, the far ends of many projections."""
    scaled = projected / np.sqrt(np.maximum(variances, 1e-6))
    axes = np.eye(len(variances), dtype=np.float32)
    from_rest = -(rest / np.sqrt(np.maximum(variances, 1e-6)))[:, None]
    single = np.concatenate([axes, -axes, from_rest, -from_rest], 1)
    tails = [(single, CUTS[1:3]), (_skewed(scaled), CUTS)]
    starts = []
    for directions, cuts in tails:
        along = np.ascontiguousarray((scaled @ directions).T)
        bounds = np.quantile(along, cuts, axis=1)[..., None]
        starts += [along > bound for bound in bounds]
    return np.concatenate(starts).T.astype(np.float32, order="C")


def _skewed(scaled: np.ndarray) -> np.ndarray:
    """(k, s) float32: directions along which few images lie far out on one side.

    Power iteration on the third moment (Hyvärinen, Oja, Neural Computation 9, 1997).
    """
    k = scaled.shape[1]
    rng = np.random.default_rng(0)
    directions: np.ndarray = rng.standard_normal((k, SKEWED)).astype(np.float32)
    for _ in range(SKEW_STEPS):
        directions /= np.linalg.norm(directions, axis=0) + 1e-9
        directions = scaled.T @ (scaled @ directions) ** 2 / len(scaled)
    return directions / (np.linalg.norm(directions, axis=0) + 1e-9)


@dataclass(frozen=True)
class _Groups:
    """Two groups each, from s starts."""

    members: np.ndarray  #: (s, n) float32, probabilities of being in the second group
    share: np.ndarray  #: (s,) of the second group
    distance: np.ndarray  #: (s,) of the means, in standard deviations
    weights: np.ndarray  #: (k, s), of the projection that tells them apart
    bound: np.ndarray  #: (s,), above which an image is in the second group


def _separate(projected: np.ndarray, members: np.ndarray) -> _Groups:
    """Expectation-maximisation of two normal groups of equal covariance, from many starts.

    Equal covariances make each step a few matrix products for all starts at once.

    Args:
        projected: (n, k) float32, of mean 0.
        members: (n, s) float32, probabilities of being in the second group; written to.
    """
    n, k = projected.shape
    ridge = np.float32(1e-3) * np.eye(k, dtype=np.float32)
    inverse = np.linalg.inv(projected.T @ projected / n + ridge)
    # With a column of ones the same products give sums of members, and scores less their bounds.
    and_one = np.concatenate([projected, np.ones((n, 1), np.float32)], 1)
    sums = and_one.T @ members
    for step in range(EM_STEPS):
        weight = np.clip(sums[-1], 3, n - 3)
        share = weight / n
        few = sums[:-1] / weight
        shift = few / (1 - share)  # between the means, as that of all is 0
        direction = inverse @ shift
        squared = (shift * direction).sum(0)
        within = np.maximum(1 - share * (1 - share) * squared, 1e-3)
        weights = direction / within
        bound = (weights * (few - shift / 2)).sum(0) - np.log(share / (1 - share))
        sums = np.zeros_like(sums)
        minus = np.concatenate([-weights, bound[None]])
        # Some rows at a time, which stay in the cache.
        for start in range(0, n, ROWS):
            rows = slice(start, start + ROWS)
            some = np.matmul(and_one[rows], minus, out=members[rows])
            np.clip(some, -30, 30, out=some)
            np.exp(some, out=some)
            some += 1
            np.reciprocal(some, out=some)
            if step < EM_STEPS - 1:
                sums += and_one[rows].T @ some
    return _Groups(
        np.ascontiguousarray(members.T), share, np.sqrt(squared / within), weights, bound
    )
