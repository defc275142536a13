"""The scan of one class, from its images to the triggers that are found in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from sanitizer.scan.canonical import Compact
from sanitizer.scan.classes import Searched, are_new
from sanitizer.scan.decision import (
    HALF,
    LEAST_AMONG_OTHERS,
    LEAST_STRENGTH,
    Reason,
    accepted,
    accepted_among_others,
    is_the_innocent_part,
)
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
    made_of: np.ndarray  #: (k,) rows of the images that the signature was made of
    log_odds: np.ndarray  #: (k,) of carrying it, of each of them by all others

    def log_odds_of(self, images: Compact, searched: np.ndarray, start: int = 0) -> np.ndarray:
        """(n,) of carrying it, for images of the class.

        Of an image that the signature was made of it is what all the others say: the signature
        would find each of them again.

        Args:
            images: of the class, from its row ``start`` on.
            searched: (m,) rows of those images of the class that were given to :func:`search`.
        """
        log_odds = self.signature.log_odds(images)
        made_of = searched[self.made_of] - start
        here = (made_of >= 0) & (made_of < len(images))
        log_odds[made_of[here]] = self.log_odds[here]
        return log_odds


def search(population: Population, label: int, images: Compact) -> Iterator[Found]:
    """Triggers that images of a class share.

    Args:
        population: of the set.
        label: of the class in it.
        images: of the class, at most ``SEARCHED`` are looked at.
    """
    rng = np.random.default_rng(0)
    rows = _different(images)
    if len(rows) < LEAST_PICTURES:
        return
    beside = population.beside(label, images[rows], rng)
    for _ in range(ROUNDS):
        searched = Searched.of(beside)
        groups = _groups(searched)
        accepted = _unlike_their_class(groups, searched)
        if not accepted and population.share(label) <= MOST_OF_SET:
            accepted = _unlike_other_classes(groups, searched)
        if not accepted:
            return
        carries, left = np.zeros(len(rows), bool), images[rows]
        for group in accepted:
            found, own = _found(population, label, left, group)
            carries |= own
            yield replace(found, made_of=rows[found.made_of])
        rows = rows[~carries]
        if len(rows) < LEAST_PICTURES:
            return
        beside = beside.only(~carries, rng)


def is_searchable(images: Compact) -> bool:
    """Whether a class has enough different pictures to be searched."""
    return len(images) >= LEAST_PICTURES and len(_different(images)) >= LEAST_PICTURES


def _different(images: Compact) -> np.ndarray:
    """(k,) rows of the different pictures among those that are searched."""
    return different_pictures(thumbnails(images.pixels[:SEARCHED]))


@dataclass(frozen=True)
class _Accepted:
    """A group that shares a trigger."""

    group: Group
    among: ClassImages  #: what it was told from
    of_class: np.ndarray  #: (k,) rows of the images of its class there, which come first
    evidence: Evidence
    reason: Reason


def _groups(searched: Searched) -> list[tuple[Group, Evidence]]:
    """Groups of a class that are strong enough to be looked at, the strongest first."""
    strong = takewhile(lambda group: group.strength >= LEAST_STRENGTH, searched.groups())
    return [(group, Evidence.of(group, searched.images)) for group in strong]


def _unlike_their_class(
    groups: Sequence[tuple[Group, Evidence]], searched: Searched
) -> list[_Accepted]:
    """Groups that are told from the others of their class."""
    everything = np.arange(len(searched.images))
    judged = [
        _Accepted(group, searched.images, everything, evidence, reason)
        for group, evidence in groups
        if (reason := accepted(evidence)) is not None
    ]
    # Where most of the class is poison, what is left of it lies apart, and is looked at without.
    of_most = [one for one in judged if one.group.share > HALF]
    if of_most:
        return of_most[:1]
    new = are_new([one.group for one in judged])
    return [one for one, is_new in zip(judged, new, strict=True) if is_new]


def _unlike_other_classes(
    groups: Sequence[tuple[Group, Evidence]], searched: Searched
) -> list[_Accepted]:
    """The strongest group that looks like other classes, and is told from these."""
    innocent = [group for group, evidence in groups if is_the_innocent_part(evidence)]
    judged = []
    for images, group, chosen in searched.strangers(innocent):
        if group.strength < LEAST_AMONG_OTHERS:
            continue
        evidence = Evidence.of(group, images)
        share = float(group.members[: chosen.sum()].mean())
        if accepted_among_others(evidence, share, bool(chosen.all()), float(group.separations[0])):
            content = replace(evidence, foreign=1.0, foreign_error=0.0)  # it was chosen for that
            rows = np.flatnonzero(chosen)
            judged.append(_Accepted(group, images, rows, content, Reason.STRANGE))
    return sorted(judged, key=lambda one: one.evidence.strength)[-1:]


def _found(
    population: Population, label: int, images: Compact, one: _Accepted
) -> tuple[Found, np.ndarray]:
    """What a group shares, and which images of the class carry it."""
    signature = Signature.of(one.group.trigger, one.among.views, population.scales)
    own = one.group.log_odds[: len(one.of_class)]
    carries = np.zeros(len(images), bool)
    carries[one.of_class] = own > 0
    others = np.setdiff1d(np.arange(len(images)), one.of_class)
    carries[others] = signature.log_odds(images[others]) > 0
    screening = Screening.of(
        signature.mixture,
        signature.scores(images[carries]),
        signature.scores(population.unseen(label)),
    )
    separations = {
        kind.name: float(d) for kind, d in zip(one.among.kinds, one.group.separations, strict=True)
    }
    found = Found(one.reason, one.evidence, separations, signature, screening, one.of_class, own)
    return found, carries
