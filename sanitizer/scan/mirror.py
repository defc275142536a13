"""The scan of a set of one class, or without labels: beside its own mirror images.

Where there are no other classes, something else must tell what is natural. Photographs come as
often one way round as the other, so a group that is alike by nature has its mirror image in the
mirrored set. A trigger that is put at one place, or of which left and right differ, has not. What
is like its own mirror image, such as a colour depth, cannot be told so; and sets that are unlike
their mirror images, such as traffic signs or text, cannot be searched so at all.
"""

from dataclasses import dataclass, replace

import numpy as np

from sanitizer.scan.canonical import Compact
from sanitizer.scan.decision import Reason
from sanitizer.scan.moments import Whitening
from sanitizer.scan.population import Population, standardised
from sanitizer.scan.scan import SEARCHED, Found, search

#: Numbers of the set and of its mirror images, as if they were classes.
SET, MIRRORED = 0, 1

#: A set is not like its mirror images where their means are farther apart: squared distance, in
#: whitened frequencies. Photographs give 0.1 to 0.3, one class of them up to 0.3, traffic signs 2.
MOST_ASYMMETRY = 0.8

#: The view by which sets and their mirror images are compared as wholes.
COMPARED = "frequencies"


@dataclass(frozen=True)
class Alone:
    """A set beside its mirror images."""

    mirrored: Compact  #: these mirror images
    found: list[Found]
    comparable: bool  #: whether the set, less what was found, is like its mirror images


def search_alone(images: Compact) -> Alone:
    """Triggers that images of a set share.

    Args:
        images: of the set, at most the first ``SEARCHED`` are looked at. Sums over native pixels
            are left out, as they tell left from right.
    """
    images = Compact(images.pixels[:SEARCHED])
    mirrored = Compact(images.pixels[:, :, ::-1])
    both = Compact.joined([images, mirrored])
    labels = np.repeat([SET, MIRRORED], len(images))
    population = Population.of(both, labels, np.random.default_rng(0))
    found = [
        replace(one, reason=Reason.ONE_WAY_ROUND)
        for one in search(population, SET, images)
        if one.reason is Reason.ABSENT  # mirror images show the same, so no content is foreign
    ]
    carries = np.zeros(len(images), bool)
    for one in found:
        carries |= one.signature.log_odds(images) > 0
    comparable = _asymmetry(population, images[~carries]) <= MOST_ASYMMETRY
    return Alone(mirrored, found if comparable else [], comparable)


def _asymmetry(population: Population, images: Compact) -> float:
    """Squared distance between the means of some images and of their mirror images, whitened.

    The means of two halves, one for each factor, keep their noise out of the product.
    """
    place = [scale.view.name for scale in population.scales].index(COMPARED)
    scales = population.scales[place : place + 1]
    there, back = (
        standardised(some, scales)[0] for some in (images, Compact(images.pixels[:, :, ::-1]))
    )
    apart = (there - back) @ Whitening.by(population.moments[place]).matrix
    return float(apart[::2].mean(0) @ apart[1::2].mean(0))
