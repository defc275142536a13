"""The scan of one class, from its images to the triggers that are found in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile

import numpy as np

from sanitizer.metrics import Share
from sanitizer.scan.canonical import Compact
from sanitizer.scan.classes import Searched, are_new
from sanitizer.scan.decision import (
    HALF,
    LEAST_AMONG_OTHERS,
    LEAST_STRENGTH,
    TELLING,
    Reason,
    accepted,
    accepted_among_others,
    is_the_innocent_part,
    shows_all_classes,
    shows_other_classes,
)
from sanitizer.scan.evidence import Evidence
from sanitizer.scan.joining import ClassImages, Group, look
from sanitizer.scan.mixture import sigmoid
from sanitizer.scan.pictures import different_pictures, thumbnails
from sanitizer.scan.population import Population
from sanitizer.scan.recompressed import is_a_compression
from sanitizer.scan.screening import Screening, cut
from sanitizer.scan.signature import Signature

#: Images of a class among which triggers are sought; all of its images are judged by what is
#: found.
SEARCHED = 10_000

#: Fewer different pictures than this are no class that could be searched.
LEAST_PICTURES = 40

#: A class is searched again, less what was found, at most so often: a strong trigger hides a weak
#: one.
ROUNDS = 5

#: In a class of more than this share of the set, images that differ from other classes are not said
#: to be poison: it may be a kind of its own, such as generated pictures beside real ones.
MOST_OF_SET = 0.25

#: Parts of a class of which each is kept from a signature that is to find the triggers in it.
PARTS = 3

#: Of a group that shares one thing its parts find at least this share of each other again: those
#: that carry a trigger mostly 0.6 to 1, all but a few odd images of a class 0.1.
ONE_THING = 0.5

#: A group of more than this share of its class moves the mean of it, and is taken out alone.
LARGE = 0.2

#: A group with at least this share of another's images is the same group, not a part of it.
NEARLY_ALL = 0.9


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
    for number in range(ROUNDS):
        this = _Round(population, label, images[rows], Searched.of(beside))
        triggers = this.unlike_their_class()
        # Of few pictures it cannot be told; what is left without the poison is like no other class.
        enough = number == 0 and len(rows) >= TELLING
        may_be_strange = enough and population.share(label) <= MOST_OF_SET
        if may_be_strange and (not triggers or shows_all_classes(beside)):
            triggers = this.unlike_other_classes(beyond=triggers) or triggers
        if not triggers:
            return
        carries = np.zeros(len(rows), bool)
        for one in triggers:
            found, own = this.found(one)
            carries |= own
            yield replace(found, made_of=rows[found.made_of])
        rows = rows[~carries]
        if number == ROUNDS - 1 or len(rows) < LEAST_PICTURES:
            return
        beside = beside.only(~carries, rng)


def is_searchable(images: Compact) -> bool:
    """Whether a class has enough different pictures to be searched."""
    return len(_different(images, LEAST_PICTURES)) >= LEAST_PICTURES


def _different(images: Compact, enough: int | None = None) -> np.ndarray:
    """(k,) rows of the different pictures among those that are searched, or of ``enough``."""
    return different_pictures(thumbnails(images.pixels[:SEARCHED]), enough)


@dataclass(frozen=True)
class _Accepted:
    """A group that shares a trigger."""

    group: Group
    among: ClassImages  #: what it was told from
    of_class: np.ndarray  #: (k,) rows of the images of its class there, which come first
    evidence: Evidence
    reason: Reason

    @property
    def log_odds(self) -> np.ndarray:
        """(k,) of the images of its class, of being in the group."""
        return self.group.log_odds[: len(self.of_class)]


@dataclass(frozen=True)
class _Round:
    """A class, or what is left of it, that was searched once."""

    population: Population
    label: int
    images: Compact
    searched: Searched  #: the same images

    @cached_property
    def unseen(self) -> Compact:
        """Images of other classes that were not looked at."""
        return self.population.unseen(self.label)

    @cached_property
    def groups(self) -> list[tuple[Group, Evidence]]:
        """Groups that are strong enough to be looked at, the strongest first."""
        strong = takewhile(lambda group: group.strength >= LEAST_STRENGTH, self.searched.groups())
        return [(group, Evidence.of(group, self.searched.images)) for group in strong]

    def unlike_their_class(self) -> list[_Accepted]:
        """Groups that are told from the others of their class."""
        everything = np.arange(len(self.images))
        judged = [
            _Accepted(group, self.searched.images, everything, evidence, reason)
            for group, evidence in self.groups
            if (reason := accepted(evidence)) is not None
        ]
        judged = [one for one in judged if not self._is_a_source(one)]
        # A large trigger moves the mean of its class, from which all else seems to lie apart: it is
        # taken out alone, and what is left is searched again.
        most = [one for one in judged if one.group.share > HALF and not _is_outdone(one, judged)]
        if most:
            # All but a few odd images of a class are a larger group, but not one thing.
            most.sort(key=_images, reverse=True)
            one_thing = (one for one in most if (self._found_again(one).value or 0) >= ONE_THING)
            return [next(one_thing, most[0])]
        judged = [one for one in judged if one.group.share <= HALF]
        large = [one for one in judged if one.group.share > LARGE]
        if large:
            return [max(large, key=_weight)]
        new = are_new([one.group for one in judged])
        return [one for one, is_new in zip(judged, new, strict=True) if is_new]

    def _is_a_source(self, one: _Accepted) -> bool:
        """Whether a group shows what its class shows, and was only compressed."""
        if shows_other_classes(one.evidence):
            return False
        others = self.images[~one.group.members]
        return is_a_compression(self._signature(one), others)

    def unlike_other_classes(self, beyond: list[_Accepted]) -> list[_Accepted]:
        """The largest group that looks like other classes, and is told from these, if any.

        Args:
            beyond: groups that are told from their class; none where one of them has nearly the
                same images, and is the weightier.
        """
        innocent = [group for group, evidence in self.groups if is_the_innocent_part(evidence)]
        judged = []
        for images, group, chosen in self.searched.strangers(innocent):
            of_class = group.members[: chosen.sum()]
            if group.strength < LEAST_AMONG_OTHERS or not of_class.any():
                continue
            evidence = Evidence.among_others(group, images, of_class)
            share, apart = float(of_class.mean()), float(group.separations[0])
            if accepted_among_others(evidence, share, bool(chosen.all()), apart):
                rows = np.flatnonzero(chosen)
                judged.append(_Accepted(group, images, rows, evidence, Reason.STRANGE))
        # What all of a class share, such as the mark of a supplier, a chosen part shares, too.
        largest_first = sorted(judged, key=_images, reverse=True)
        beside = self.searched.images
        told = (one for one in largest_first if shows_all_classes(beside, self._carries(one)))
        largest = next(told, None)
        if largest is None or any(self._is_better(one, largest) for one in beyond):
            return []
        return [largest]

    def _is_better(self, one: _Accepted, other: _Accepted) -> bool:
        """Whether a group has nearly all images of another, and is the weightier."""
        members = np.flatnonzero(other.log_odds > 0)
        both = one.group.members[other.of_class[members]].mean()
        return bool(both >= NEARLY_ALL) and one.group.weight > other.group.weight

    def _signature(self, one: _Accepted) -> Signature:
        return Signature.of(one.group.trigger, one.among.views, self.population.scales)

    def _carries(self, one: _Accepted) -> np.ndarray:
        """(n,) bool, which images carry what a group shares."""
        carries = np.zeros(len(self.images), bool)
        carries[one.of_class] = one.log_odds > 0
        others = np.setdiff1d(np.arange(len(self.images)), one.of_class)
        carries[others] = self._signature(one).log_odds(self.images[others]) > 0
        return carries

    def _found_again(self, one: _Accepted) -> Share:
        """Of the images that carry a trigger, those that are found by what the others make of it.

        A signature finds the images that it was made of too well. So those in each part of the
        class are sought by one that the other parts make.
        """
        part = np.arange(len(one.among)) % PARTS
        members = one.group.members & (np.arange(len(one.among)) < len(one.of_class))
        again = 0
        for number in range(PARTS):
            others = one.among.only(part != number, np.random.default_rng(0))
            suspects = sigmoid(one.group.log_odds[part != number])[:, None]
            for group in look(others, suspects):
                signature = Signature.of(group.trigger, others.views, self.population.scales)
                threshold, _ = cut(signature.mixture, signature.scores(self.unseen))
                sought = self.images[one.of_class[np.flatnonzero(members & (part == number))]]
                again += int((signature.scores(sought) > threshold).sum())
        return Share.from_counts(again, int(members.sum()))

    def found(self, one: _Accepted) -> tuple[Found, np.ndarray]:
        """What a group shares, and (n,) bool, which images carry it."""
        signature, carries = self._signature(one), self._carries(one)
        innocent = signature.scores(self.unseen)
        screening = Screening.of(signature.mixture, innocent, self._found_again(one))
        kinds = zip(one.among.kinds, one.group.separations, strict=True)
        separations = {kind.name: float(d) for kind, d in kinds}
        return (
            Found(
                *(one.reason, one.evidence, separations, signature, screening),
                *(one.of_class, one.log_odds),
            ),
            carries,
        )


def _images(one: _Accepted) -> int:
    return one.evidence.images


def _weight(one: _Accepted) -> float:
    return one.group.weight


def _is_outdone(one: _Accepted, others: Sequence[_Accepted]) -> bool:
    """Whether a group of other images of the class is stronger, and farther beyond other classes.

    Then that one carries the trigger, and this one is what other classes are: without it.
    """
    return any(
        (other.group.members & one.group.members).sum() <= (1 - NEARLY_ALL) * _images(other)
        and other.evidence.strength > one.evidence.strength
        and other.evidence.beyond > one.evidence.beyond
        for other in others
    )
