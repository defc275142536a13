"""The scan of one class, from its images to the triggers that are found in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sanitizer.scan.canonical import Compact
from sanitizer.scan.classes import groups
from sanitizer.scan.decision import Reason, accepted
from sanitizer.scan.evidence import Evidence
from sanitizer.scan.pictures import different_pictures, thumbnails
from sanitizer.scan.population import Population
from sanitizer.scan.screening import Screening
from sanitizer.scan.signature import Signature

#: Images of a class among which triggers are sought; all of its images are judged by what is
#: found.
SEARCHED = 10_000

#: Fewer different pictures than this are no class that could be searched.
LEAST_PICTURES = 40

#: A class is searched again, less what was found, at most so often: a strong trigger hides a weak
#: one.
ROUNDS = 3


@dataclass(frozen=True)
class Found:
    """A trigger that images of a class share."""

    reason: Reason
    evidence: Evidence
    separations: dict[str, float]  #: d' of its images from the others, by the name of the view
    signature: Signature
    screening: Screening  #: how it is found in other data


def search(population: Population, label: int, images: Compact) -> Iterator[Found]:
    """Triggers that images of a class share.

    Args:
        population: of the set.
        label: of the class in it.
        images: of the class, at most ``SEARCHED`` are looked at.
    """
    rng = np.random.default_rng(0)
    images = images[different_pictures(thumbnails(images.pixels[:SEARCHED]))]
    for _ in range(ROUNDS):
        if len(images) < LEAST_PICTURES:
            return
        seen = population.beside(label, images, rng)
        carries = np.zeros(len(images), bool)
        for group in groups(seen):
            evidence = Evidence.of(group, seen)
            reason = accepted(evidence)
            if reason is None:
                continue
            carries |= group.members
            separations = {
                kind.name: float(d) for kind, d in zip(seen.kinds, group.separations, strict=True)
            }
            signature = Signature.of(group.trigger, seen.views, population.scales)
            screening = Screening.of(
                signature.mixture,
                signature.scores(images[group.members]),
                signature.scores(population.unseen(label)),
            )
            yield Found(reason, evidence, separations, signature, screening)
        if not carries.any():
            return
        images = images[~carries]
