"""The scan of one class, from its images to the triggers that are found in it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sanitizer.scan.canonical import Compact
from sanitizer.scan.classes import Searched
from sanitizer.scan.decision import Reason, accepted, accepted_among_others
from sanitizer.scan.evidence import Evidence
from sanitizer.scan.joining import ClassImages, Group
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

#: In a class of more than this share of the set, images that differ from other classes are not said
#: to be poison: it may be a kind of its own, such as generated pictures beside real ones.
MOST_OF_SET = 0.25


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
        searched = Searched.of(population.beside(label, images, rng))
        accepted = _unlike_their_class(searched)
        if not accepted and population.share(label) <= MOST_OF_SET:
            accepted = _unlike_other_classes(searched)
        if not accepted:
            return
        carries = np.zeros(len(images), bool)
        for group in accepted:
            found, own = _found(population, label, images, group)
            carries |= own
            yield found
        images = images[~carries]


@dataclass(frozen=True)
class _Accepted:
    """A group that shares a trigger."""

    group: Group
    among: ClassImages  #: what it was told from
    evidence: Evidence
    reason: Reason


def _unlike_their_class(searched: Searched) -> list[_Accepted]:
    """Groups that are told from the others of their class."""
    groups = []
    for group in searched.groups():
        evidence = Evidence.of(group, searched.images)
        reason = accepted(evidence)
        if reason is not None:
            groups.append(_Accepted(group, searched.images, evidence, reason))
    return groups


def _unlike_other_classes(searched: Searched) -> list[_Accepted]:
    """The strongest group that looks like other classes, and is told from these."""
    groups = []
    for images, group, of_all in searched.strangers():
        evidence = Evidence.of(group, images)
        if accepted_among_others(evidence, of_all, float(group.separations[0])):
            content = replace(evidence, foreign=1.0, foreign_error=0.0)  # it was chosen for that
            groups.append(_Accepted(group, images, content, Reason.STRANGE))
    return sorted(groups, key=lambda one: one.evidence.strength)[-1:]


def _found(
    population: Population, label: int, images: Compact, one: _Accepted
) -> tuple[Found, np.ndarray]:
    """What a group shares, and which images of the class carry it."""
    signature = Signature.of(one.group.trigger, one.among.views, population.scales)
    carries = signature.log_odds(images) > 0
    screening = Screening.of(
        signature.mixture,
        signature.scores(images[carries]),
        signature.scores(population.unseen(label)),
    )
    separations = {
        kind.name: float(d) for kind, d in zip(one.among.kinds, one.group.separations, strict=True)
    }
    return Found(one.reason, one.evidence, separations, signature, screening), carries
