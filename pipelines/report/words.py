"""What a run amounts to in words, for the page and for the end of a command."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from sanitizer.errors import shortened
from sanitizer.fit import CalibrationFit
from sanitizer.policy import Decision, at_most
from sanitizer.scan.finding import Finding
from sanitizer.scan.scan import LEAST_PICTURES
from sanitizer.summary import (
    CalibrationFacts,
    Counts,
    PolicyFacts,
    ReviewFacts,
    ScanFacts,
    SignatureFacts,
    unjudged,
)


class Judged(Protocol):
    """What is known of a run that judged: its summary, or its manifest."""

    @property
    def counts(self) -> Counts: ...

    @property
    def rejected_by_reason(self) -> Mapping[str, int]: ...

    @property
    def policy(self) -> PolicyFacts: ...

    @property
    def decision(self) -> Decision: ...

    @property
    def calibration(self) -> CalibrationFacts: ...

    @property
    def fit(self) -> CalibrationFit: ...


def warnings(run: Judged) -> list[str]:
    """What is to be said before all else: that little was judged, or probably judged wrongly."""
    few = few_judged(run.counts.read, run.rejected_by_reason)
    wrong, doubt = wrong_calibration(run), doubtful_calibration(run)
    return [warning for warning in (few, wrong, doubt, *run.calibration.doubts) if warning]


def few_judged(read: int, rejected_by_reason: Mapping[str, int]) -> str:
    """:func:`sanitizer.summary.unjudged` as a sentence of its own; else nothing."""
    words = unjudged(read, rejected_by_reason)
    return f"{words[0].upper()}{words[1:]}." if words else ""


class Carrying(Protocol):
    """What is known of triggers in a run: by its summary, or its manifest."""

    @property
    def scan(self) -> ScanFacts | None: ...

    @property
    def signatures(self) -> Sequence[SignatureFacts]: ...


def carriers(run: Carrying) -> tuple[int, int]:
    """Images that share a trigger, and other ones that are taken for carriers of a known one."""
    return run.scan.images if run.scan else 0, sum(one.images for one in run.signatures)


def headline(counts: Counts, *, carriers: int = 0, known: int = 0, wrong: bool = False) -> str:
    """What happened, in one sentence.

    Args:
        carriers: images that share a trigger with others of their class.
        known: other ones, that are taken for carriers of a trigger from another set.
        wrong: the calibration does not fit the set.

    >>> headline(Counts(60, 52, 7, 1))
    '7 of 60 images removed, 1 could not be judged.'
    >>> headline(Counts(60, 53, 7, 0), carriers=5)
    '7 of 60 images removed, 5 of them for a trigger that they share.'
    >>> headline(Counts(60, 53, 7, 0), carriers=5, known=1)
    '7 of 60 images removed, 5 of them for a trigger that they share, 1 of them as a likely \
carrier of a known trigger.'
    >>> headline(Counts(60, 2, 1, 57))
    'Only 3 of 60 images could be judged; 1 of them removed.'
    """
    read, removed = counts.read, counts.poisoned
    judged = counts.clean + removed
    if not read:
        return "There were no images to judge."
    images = "image" if read == 1 else "images"
    if not judged:
        return f"None of {read:,} {images} could be judged."
    if 2 * judged < read:
        of_them = f"{removed:,} of them removed" if removed else "none of them removed"
        return f"Only {judged:,} of {read:,} images could be judged; {of_them}."
    start = (
        f"{removed:,} of {read:,} {images} removed" if removed else f"No image of {read:,} removed"
    )
    if carriers:
        start += f", {_of_them(carriers, removed)} for a trigger that they share"
    if known:
        likely = "a likely carrier" if known == 1 else "likely carriers"
        start += f", {_of_them(known, removed)} as {likely} of a known trigger"
    if wrong:
        start = f"The calibration does not seem to fit this set: {start[0].lower()}{start[1:]}"
    return f"{start}, {counts.rejected:,} could not be judged." if counts.rejected else f"{start}."


def reviewed_headline(counts: Counts) -> str:
    """What holds since a review, in one sentence.

    >>> reviewed_headline(Counts(60, 58, 2, 0))
    'After a review: 2 of 60 images removed.'
    """
    return f"After a review: {headline(counts)}"


def review_line(review: ReviewFacts) -> str:
    """What reviewers have made of the verdicts.

    >>> review_line(ReviewFacts(decided=9, kept=5, removed=1, at="2026-11-28T14:18:05+00:00"))
    'Reviewed: people have decided on 9 images, the last time on 2026-11-28; 5 that freqsan had \
removed are kept, 1 that it had kept is removed.'
    """
    images = "image" if review.decided == 1 else "images"
    kept, removed = (f"{n:,} that" for n in (review.kept, review.removed))
    are, is_now = ("is" if n == 1 else "are" for n in (review.kept, review.removed))
    return (
        f"Reviewed: people have decided on {review.decided:,} {images}, the last time on "
        f"{review.at[:10]}; {kept} freqsan had removed {are} kept, {removed} it had kept "
        f"{is_now} removed."
    )


def _of_them(some: int, removed: int) -> str:
    return "all of them" if some == removed else f"{some:,} of them"


def signature_line(known: SignatureFacts) -> str:
    """How well a trigger of another set is told, as far as that was measured, and how often."""
    made, found, alarms = known.made_of, known.found, known.false_alarms
    again = (
        f"{found.count:,} of the {found.of:,} of them again that are different pictures"
        if found.of
        else "none of them again"
    )
    rate = f" ({percent(found.value)})" if found.value is not None else ""
    beside = (
        f"{alarms.count:,} of {alarms.of:,} innocent images ({percent(alarms.value)})"
        if alarms.value is not None
        else "of innocent images nobody knows how many"
    )
    return (
        f"{shortened(known.path)} was found on {made.count:,} of {made.of:,} {known.whose} of "
        f"another set: it finds {again}{rate}, and {beside} beside. Of this set it takes "
        f"{known.images:,} image{'s' if known.images != 1 else ''} for carriers."
    )


#: What it says of a set that nothing was found.
_NO_PROOF = "That is no proof that there is none: docs/scan.md says what is missed."


def scan_lines(scan: ScanFacts) -> list[str]:
    """What the scan has found, a line a finding."""
    few = scan.classes - scan.searched
    if scan.classes < 2:
        return _lines_of_one_class(scan)
    if not scan.searched:
        return [
            f"None of the {scan.classes:,} classes has enough images to be searched: nobody "
            f"looked for triggers that images share, which takes {LEAST_PICTURES} different images "
            "of a class."
        ]
    have = "has" if few == 1 else "have"
    too_small = f"; {few:,} {have} fewer than {LEAST_PICTURES} different images" if few else ""
    classes = f"{scan.searched:,} {'was' if scan.searched == 1 else 'were'} searched"
    start = f"Of {scan.classes:,} classes {classes}{too_small}:"
    if not scan.findings:
        return [f"{start} no trigger was found. {_NO_PROOF}"]
    return [f"{start} {_found(scan)}", *map(_line, scan.findings)]


def _lines_of_one_class(scan: ScanFacts) -> list[str]:
    start = "The set has no two classes of judged images to compare"
    if not scan.searched:
        return [
            f"{start}, and it has too few different images or is unlike its own mirror images, as "
            "text and traffic signs are, so it was not searched for a trigger that images share."
        ]
    start += ", so it was compared with its own mirror images:"
    if not scan.findings:
        return [f"{start} no trigger of which left and right differ was found. {_NO_PROOF}"]
    return [f"{start} {_found(scan)}", *map(_line, scan.findings)]


#: Findings in so many classes, and in such a share of those that were searched, may be natural.
MANY_CLASSES, LARGE_SHARE = 3, 0.3


def _found(scan: ScanFacts) -> str:
    found = f"{len(scan.findings):,} trigger{'s' if len(scan.findings) > 1 else ''} found."
    infected = len({finding.label for finding in scan.findings})
    if infected < MANY_CLASSES or infected < LARGE_SHARE * scan.searched:
        return found
    return (
        f"{found} They are in {infected:,} classes, which is much: look at their pictures before "
        "you believe them, as classes that were put together of several kinds of things have "
        "such groups by nature."
    )


def _line(finding: Finding) -> str:
    images = finding.images
    return (
        f"{finding.name}: {images.count:,} of {images.of:,} {finding.whose} share a pattern; "
        f"{finding.reason.value}."
    )


def removals(
    counts: Counts,
    decision: Decision,
    scan: ScanFacts | None,
    signatures: Sequence[SignatureFacts] = (),
    *,
    wrong: bool = False,
) -> str:
    """By what images were removed, and how many innocent ones are expected among them.

    Args:
        wrong: the calibration does not fit the set, so nothing is expected by it.
    """
    removed, by_score = counts.poisoned, decision.removed
    shared = scan.images if scan else 0
    known = sum(one.images for one in signatures)
    carriers = shared + known
    if not carriers:
        return "" if wrong else innocents(decision)
    words = _by_what(
        *(removed - by_score, removed - carriers, carriers + by_score - removed),
        likely=bool(known),
    )
    mistaken = sum(finding.innocents for finding in scan.findings) if scan else 0.0
    if scan and scan.findings:
        words += (
            f". By the odds of each, {at_most(mistaken)} of the {shared:,} that "
            f"{'share' if known else 'carry'} one {_are(mistaken)} expected to be innocent"
        )
    if known:
        alarms = _false_alarms(signatures, counts.read)
        if alarms is None:
            return f"{words}. How many innocent images a signature marks was not measured."
        alarms = min(alarms, known)
        words += (
            f". By what was measured where the signatures were made, {at_most(alarms)} of the "
            f"{known:,} that they mark {_are(alarms)} expected to be innocent"
        )
        mistaken += alarms
    by_score_alone = removed - carriers
    if not by_score_alone or wrong:
        return f"{words}."
    # Innocent images among those that carry a trigger as well are counted by their odds.
    expected = mistaken + min(decision.expected_innocents, by_score_alone)
    words += (
        f". Where the calibration fits the set, {at_most(expected)} of all {removed:,} "
        f"{_are(expected)} expected to be innocent"
    )
    if _as_without_attack(decision):
        words += (
            ". Scores would remove as many from a set of this size without any attack: the "
            "number of those is no sign of one"
        )
    return f"{words}."


def _false_alarms(signatures: Sequence[SignatureFacts], images: int) -> float | None:
    """Innocent images that are marked at most, at 95% confidence; None where nobody measured it."""
    most = [one.false_alarms.interval for one in signatures if one.images]
    return sum(images * one[1] for one in most if one) if all(most) else None


def _by_what(trigger: int, score: int, both: int, *, likely: bool = False) -> str:
    """By what images were removed.

    Args:
        trigger, score, both: for one alone, and for both.
        likely: some are carriers by a signature, which has false alarms.

    >>> _by_what(6, 2, 0)
    '8 images are removed: 6 for a trigger alone, 2 for their score alone'
    """
    removed = trigger + score + both
    carry = "are taken for carriers of a trigger" if likely else "carry a trigger"
    if trigger == removed:
        return f"All {removed:,} removed images {carry}"
    a_trigger = "as likely carriers of a trigger" if likely else "for a trigger"
    parts = [
        (trigger, f"{a_trigger} alone"),
        (score, "for their score alone"),
        (both, "for both" if trigger and score else f"{a_trigger} and for their score"),
    ]
    told = ", ".join(f"{count:,} {words}" for count, words in parts if count)
    return f"{removed:,} images are removed: {told}"


def _as_without_attack(decision: Decision) -> bool:
    """Whether scores removed no more than from a set without an attack, on average."""
    expected = math.ceil(decision.expected_innocents - 1e-9)
    return decision.policy == "budget" and decision.removed <= expected


def _are(expected: float) -> str:
    return "are" if expected > 1 else "is"


def innocents(decision: Decision) -> str:
    """How many innocent images are expected among those that scores removed, in words."""
    removed, expected = decision.removed, decision.expected_innocents
    if not decision.judged:
        return ""
    if not removed:
        return "No image was removed; below it says why."
    share = decision.innocents
    if _as_without_attack(decision):
        return (
            f"On average {share} innocent image{'s' if expected > 1 else ''} would be removed from "
            "a set of this size without any attack, and no more than that were removed: their "
            "number alone is no sign of an attack."
        )
    images = "images" if removed > 1 else "image"
    return (
        f"Where the calibration fits the set, on average {share} of the {removed:,} removed "
        f"{images} {_are(expected)} innocent: look through them below before you train without "
        "them."
    )


def wrong_calibration(run: Judged) -> str:
    """That the calibration does not fit the set, why that seems so and what to do; else nothing."""
    if not run.fit.wrong:
        return ""
    which, cure = (
        ("The trusted images seem to be unlike this set", "trusted images from the same source")
        if run.calibration.origin == "trusted"
        else ("The calibration does not seem to fit this set", "clean images from the same source")
    )
    removed = run.decision.removed
    so = (
        f"so most of the {removed:,} images removed by their score may be innocent"
        if removed
        else "so no image is removed for its score alone"
    )
    over = ", over most classes" if run.fit.classes > 1 else ""
    return (
        f"{which}, {so}. {_suspicious(run)}{over}; the scores do not split in two, as those of "
        "clean and poisoned images would; and the others are more suspicious than clean ones, too. "
        f"Run again and give --trusted with {cure}, prepared in the same way."
    )


def doubtful_calibration(run: Judged) -> str:
    """That the calibration may not fit the set, why and what would tell; else nothing."""
    fit = run.fit
    if not fit.doubts(fit.elsewhere_removed, run.policy.max_clean_loss * fit.elsewhere_judged):
        return ""
    trusted = run.calibration.origin == "trusted"
    calibration = "the trusted images are" if trusted else "the calibration is"
    more = "other" if trusted else "clean"
    return (
        f"It is in doubt whether {calibration} like this set. {_suspicious(run)}, and the others "
        "are more suspicious than clean ones, too. Few poisoned images among many clean ones do "
        f"not look so, but so may a clean set of another kind. To tell, run again and give "
        f"--trusted with {more} images from the same source, prepared in the same way."
    )


def _suspicious(run: Judged) -> str:
    """How many images are as suspicious as few clean ones are."""
    fit, limit = run.fit, run.policy.max_clean_loss
    share = fit.elsewhere_removed / max(1, fit.elsewhere_judged)
    return f"{percent(share)} are as suspicious as {percent(limit)} of clean images"


def percent(share: float) -> str:
    """A share as a percentage; almost none never reads as none, nor almost all as all.

    >>> percent(0.25), percent(0.00001), percent(0.9999)
    ('25.0%', '<0.01%', '>99.9%')
    """
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}" if 0.1 <= share < 1 else f"{100 * share:.3g}%"
