"""What the scan has found, as pages show it: words and pictures of each finding."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from pipelines.report.plots import (
    SpectraDrawing,
    ValuesDrawing,
    amplified,
    colours,
    data_uri,
    draw_spectra,
    draw_values,
    heat_map,
    outlined,
    picture,
    signed_map,
)
from pipelines.report.words import percent
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.scan.decision import HALF_WAY, MOVED, Reason, bar_of, is_of_others, is_told
from sanitizer.scan.finding import Finding, Unpacked
from sanitizer.scan.portrait import Portrait
from sanitizer.spectrum import MeanSpectrum

#: What each view looks at, for people, by its name.
VIEWS_IN_WORDS = {
    "low frequencies": "broad shapes and shades, an eighth of the image and larger",
    "frequencies": "shapes down to two pixels, in coarse and fine alike",
    "edges": "where in the image there are edges, and how sharp",
    "histogram": "which values pixels have, and how often",
    "spectrum": "how much there is of coarse and fine pattern, wherever it is",
    "energies": "how sharp or smooth each part of the image is",
    "native energies": "how sharp or smooth each part of the image is, in its own pixels",
    "native values": "which values its own pixels have, and how often",
    "native spectrum": "how much there is of coarse and fine pattern from pixel to pixel",
    "native pattern": "patterns that repeat every eight pixels",
}

#: Standard deviations by which the values of pixels tell carriers apart, to be drawn.
VALUES_SPEAK = 3.0

#: Sharpness is mentioned from this change on.
SHARPER = 0.05

#: Levels by which a pattern changes pixels at least, to be told of: less is rounded away. Beside
#: something opaque, which is all that many have in common, chance leaves some levels of the others.
LEAST_LEVELS, LEAST_LEVELS_BESIDE = 1.0, 8.0

#: Share of the pixels that are nearly all.
NEARLY_ALL = 0.95

#: The scale of the map of sharpness ends here at least, so that noise stays pale.
LEAST_EXTREME = 0.2

#: The scale of the map of how much images vary ends here; 1 is as expected.
MOST_SPREAD = 1.5

#: Shares as "one in so many" are not told beyond this.
MOST_IN = 1_000_000


@dataclass(frozen=True)
class Separation:
    """How far one view tells the carriers of a trigger from the others of their class."""

    words: str  #: what it looks at
    distance: float  #: in standard deviations
    width: float  #: of its bar, percent


@dataclass(frozen=True)
class Likenesses:
    """What carriers of a trigger look like, as data URIs and words."""

    trigger: str  #: what chance does not explain, amplified
    trigger_gain: int
    has_trigger: bool  #: anything is left
    difference: str  #: carriers less what is expected of them, amplified
    difference_gain: int
    carriers: str  #: their mean, with a line around what is covered
    others: str  #: mean of the others of the class
    spread: str  #: how much they vary, dark: hardly
    is_covered: bool  #: something opaque covers a part
    sharpness: str  #: blue: smoother than expected, red: sharper
    extreme: float  #: of its scale, a factor above 1
    spectra: SpectraDrawing
    values: ValuesDrawing | None  #: None where they tell little
    words: list[str]  #: what is to be seen, a sentence each

    @classmethod
    def of(cls, portrait: Portrait, finding: Finding) -> Self:
        covered = portrait.covered
        has_trigger = bool(covered.any()) or _laid_over(portrait) >= LEAST_LEVELS
        trigger, trigger_gain = amplified(portrait.trigger * has_trigger)
        difference, difference_gain = amplified(portrait.difference)
        extreme = max(LEAST_EXTREME, float(np.quantile(np.abs(portrait.detail), 0.98)))
        others = finding.images.of - finding.images.count
        means = portrait.spectrum, portrait.expected_spectrum
        counts = finding.images.count, others
        spectra = [MeanSpectrum(m, n) for m, n in zip(means, counts, strict=True)]
        speaks = finding.separations.get("histogram", 0) >= VALUES_SPEAK
        return cls(
            trigger=picture(trigger),
            trigger_gain=trigger_gain,
            has_trigger=has_trigger,
            difference=picture(difference),
            difference_gain=difference_gain,
            carriers=picture(outlined(portrait.carriers, covered)),
            others=picture(portrait.others),
            spread=data_uri(heat_map(portrait.spread / MOST_SPREAD, colours("magma"))),
            is_covered=bool(covered.any()),
            sharpness=signed_map(portrait.detail, extreme),
            extreme=math.exp(extreme),
            spectra=draw_spectra(*spectra),
            values=draw_values(portrait.values, portrait.expected_values) if speaks else None,
            words=_seen(portrait, covered),
        )


def _seen(portrait: Portrait, covered: np.ndarray) -> list[str]:
    """What the pictures show, in words."""
    words = []
    if count := int(covered.sum()):
        words.append(
            f"In {count:,} of the {covered.size:,} cells of the image, {_place(covered)}, the "
            "images are all but identical: something opaque covers what is below."
        )
    levels = _laid_over(portrait)
    if levels >= (LEAST_LEVELS_BESIDE if count else LEAST_LEVELS):
        too = " too" if count else ""
        words.append(
            f"Something see-through is laid over all of them in the same way{too}. It changes a "
            f"pixel by up to {levels:.0f} of 255 levels."
        )
    elif not count:
        words.append(
            "Nothing is laid over all of them at the same place: what they share is a treatment, "
            "such as a blur or a warp, or is somewhere else in each."
        )
    used, usual = map(_values_used, (portrait.values, portrait.expected_values))
    if 2 * used < usual:
        words.append(
            f"Nearly all of their pixels have one of {used} values, where {usual} of the 256 are "
            "expected: the depth of colour was reduced."
        )
    change = math.expm1(float(portrait.detail.mean()))
    if abs(change) >= SHARPER:
        more = "stronger" if change > 0 else "weaker"
        words.append(f"Their fine detail is {percent(abs(change))} {more} than expected.")
    return words


def _laid_over(portrait: Portrait) -> float:
    """By how many of 255 levels something see-through changes a pixel, at most."""
    return float(np.abs(portrait.trigger[~portrait.covered]).max(initial=0))


def _values_used(shares: np.ndarray) -> int:
    """How many values nearly all pixels have, by the (256,) shares of the values."""
    return int(np.searchsorted(np.sort(shares)[::-1].cumsum(), NEARLY_ALL)) + 1


def _place(region: np.ndarray) -> str:
    """Where in the image a region is, in words."""
    rows, columns = np.nonzero(region)
    if np.ptp(rows) > region.shape[0] // 2 or np.ptp(columns) > region.shape[1] // 2:
        return "marked below"
    vertical = ("upper", "", "lower")[int(3 * (rows.mean() + 0.5) / region.shape[0])]
    horizontal = ("left", "", "right")[int(3 * (columns.mean() + 0.5) / region.shape[1])]
    return f"{vertical} {horizontal}".strip() or "in the middle"


def separations(finding: Finding) -> list[Separation]:
    """How far each view tells the carriers apart, the clearest first."""
    ordered = sorted(finding.separations.items(), key=lambda item: -item[1])
    widest = max((distance for _, distance in ordered), default=0) or 1
    return [
        Separation(VIEWS_IN_WORDS.get(name, name), distance, 100 * max(0, distance) / widest)
        for name, distance in ordered
    ]


def grounds(finding: Finding) -> list[str]:
    """Why the images are held to share a trigger and not to be alike by nature."""
    evidence = finding.evidence
    strange = finding.reason is Reason.STRANGE
    others = "images of other classes" if strange else "the others of their class"
    words = [
        f"All measurements together put these images {evidence.strength:.1f} standard deviations "
        f"from {others}: {_overlap(evidence.strength)}.",
        _bar(finding),
    ]
    rest = "none" if not evidence.share_of_rest else percent(evidence.share_of_rest)
    own = (finding.images.value or 0) if strange else evidence.share
    everywhere = f"Of {elsewhere(finding)} {rest} look like them, of their class {percent(own)}. "
    if finding.reason is Reason.ABSENT:
        words.append(
            everywhere + "What images have in common by nature, such as snow or a white "
            "background, is met in other classes, too. But look at them: a second source that gave "
            "images to this class alone may seem the same, such as a scanner, a program that draws "
            "borders or dates, another size or encoding; and so may copies that were turned or "
            "warped to make more of few, or one of several kinds of things under one label."
        )
    else:
        words.append(everywhere.strip())
    if finding.reason is Reason.ONE_WAY_ROUND:
        return [*words, _varied(finding)]
    return [*words, _shown(finding), _varied(finding)]


def _shown(finding: Finding) -> str:
    """Whether they show what their class shows or what others do, in words."""
    evidence = finding.evidence
    of_others, told = is_of_others(evidence), is_told(evidence, finding.reason)
    if finding.reason is Reason.STRANGE or (of_others and evidence.foreign < HALF_WAY):
        return (
            "They show as many kinds of things as images of all other classes do, which one class "
            "does not: they rather are images of other classes that were given this label."
        )
    if not told and evidence.apart >= MOVED:
        return "What they share changes them so much that it cannot be told what they show."
    if not told:
        what = "which of the two, these images are too few to tell."
    elif of_others:
        what = (
            "they rather look like images of other classes that were given this label. Images that "
            "are alike by nature show what their class shows."
        )
    else:
        what = "they rather show what their class shows."
    # Of a few images the figure may fall short of one end or beyond the other.
    place = f"{min(max(evidence.foreign, 0), 1):.2f} ± {evidence.foreign_error:.2f}"
    return (
        f"If what their own class shows is 0 and what the others show is 1, these images show "
        f"{place}: {what}"
    )


def elsewhere(finding: Finding) -> str:
    """What its class was compared with, in words."""
    if finding.reason is Reason.ONE_WAY_ROUND:
        return "mirror images of the set"
    return "images of other classes"


def _varied(finding: Finding) -> str:
    evidence = finding.evidence
    return (
        f"They are not one picture many times over: the {evidence.images:,} of them that were "
        f"looked at, one of each picture, count as {evidence.pictures:,.0f} different ones, and "
        f"what they show varies {percent(evidence.spread)} as much as in the rest of the set."
    )


def _bar(finding: Finding) -> str:
    """How strong a natural group can be, and how strong a trigger has to be."""
    bar = bar_of(finding.reason, finding.evidence)
    return (
        f"At least {bar.height(finding.evidence):.1f} are asked of a group of so many pictures: "
        "more than groups that are alike by nature or by chance reach in nearly all clean classes."
    )


def _overlap(distance: float) -> str:
    """How far two groups of normal distribution overlap, in words.

    >>> _overlap(4.0)
    'were both bell curves, one image in 44 would be nearer to the wrong one'
    >>> _overlap(20.0)
    'were both bell curves, less than one image in 1,000,000 would be nearer to the wrong one'
    """
    wrong = math.erfc(distance / 2 / math.sqrt(2)) / 2
    one_in = (
        f"one image in {1 / wrong:,.0f}"
        if wrong * MOST_IN > 1
        else (f"less than one image in {MOST_IN:,}")
    )
    return f"were both bell curves, {one_in} would be nearer to the wrong one"


def expected(finding: Finding) -> str:
    """What the carriers of a trigger are compared with, in words."""
    of_others = is_of_others(finding.evidence)
    whose = elsewhere(finding) if of_others else "the others of their class"
    why = "these images show such content"
    if not is_told(finding.evidence, finding.reason):
        why = "what these images show seems nearer to that"
    return f"Expected is what {whose} are on average, since {why}."


def screened(finding: Finding) -> str:
    """How well its signature tells carriers from images of other classes, in words."""
    found, alarms = finding.screening.found, finding.screening.false_alarms
    beside = f", and {alarms.count:,} of {alarms.of:,} {elsewhere(finding)}" if alarms.of else ""
    return (
        f"By what the others of them share, {found.count:,} of {found.of:,} of them are found "
        f"again{beside}."
    )


def portrait_of(store: Store, finding: Finding) -> Portrait:
    """The portrait that was stored with a finding.

    Raises:
        ValueError: it is none.
        OSError: it cannot be read.
    """
    return Unpacked.of(store.read(layout.signature(finding.name))).portrait


def by_strength(findings: Sequence[Finding]) -> list[Finding]:
    """The surest first."""
    return sorted(findings, key=lambda one: (-one.evidence.strength, one.name))
