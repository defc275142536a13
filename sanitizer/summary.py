"""What a run amounts to, in numbers small enough to send around.

A batch of judged samples becomes a :class:`Tally`; tallies add up in any order and grouping,
with the empty one as the identity, so a shard, a worker and a whole run all speak the same
form. :class:`Summary` is what people and ``report/summary.json`` are given of a whole run.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sanitizer.fit import CalibrationFit
from sanitizer.metrics import Share
from sanitizer.policy import Decision, Policy
from sanitizer.record import Record
from sanitizer.records import CLEAN, POISONED, VERDICTS
from sanitizer.scan.finding import Finding

#: Bins of the score histogram, evenly over [0, 1]; a score of 1 is in the last.
BINS = 100

#: Verdicts that come with a score.
JUDGED = (CLEAN, POISONED)


@dataclass(frozen=True)
class Counts(Record):
    """Samples by verdict."""

    read: int = 0  #: in all
    clean: int = 0
    poisoned: int = 0
    rejected: int = 0

    @classmethod
    def of(cls, by_verdict: Mapping[str, int]) -> Self:
        """Of the samples of each verdict; what is missing is 0."""
        return cls(sum(by_verdict.values()), *(by_verdict.get(verdict, 0) for verdict in VERDICTS))


@dataclass(frozen=True)
class Tally(Record):
    """How many samples there are of each kind; adds up without regard to order.

    >>> tally = Tally(verdicts={"clean": 3, "rejected": 1}, reject_kinds={"no bytes": 1})
    >>> Tally.total([tally, tally]).counts()
    Counts(read=8, clean=6, poisoned=0, rejected=2)
    """

    verdicts: dict[str, int] = field(default_factory=dict)  #: samples by verdict
    reject_kinds: dict[str, int] = field(default_factory=dict)  #: by :class:`ImageError` kind
    #: samples of each label, a :func:`label_key`, by verdict
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    #: clean and poisoned samples in each of BINS bins of [0, 1]
    histogram: dict[str, list[int]] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)  #: samples that carry each, by name

    @classmethod
    def of(
        cls,
        verdicts: pa.StringArray,
        scores: np.ndarray,
        labels: pa.Array,
        reject_kinds: Iterable[str],
        findings: Iterable[str] = (),
    ) -> Self:
        """Count samples.

        Args:
            verdicts: (n,) one of :data:`sanitizer.records.VERDICTS` each.
            scores: (n,) float, 0 to 1; NaN for a sample that has none.
            labels: (n,) of any Arrow type.
            reject_kinds: the kind of each rejected sample, in any order.
            findings: the name of the finding that each sample carries that carries one.
        """
        by_label: dict[str, dict[str, int]] = {}
        for (label, verdict), count in label_counts(labels, verdicts).items():
            by_label.setdefault(label, {})[verdict] = count
        scores = np.asarray(scores, np.float64)
        scored = np.isfinite(scores)
        bins = np.minimum(np.where(scored, scores, 0) * BINS, BINS - 1)
        histogram = {}
        for verdict in JUDGED:
            mine = pc.equal(verdicts, verdict).to_numpy(zero_copy_only=False) & scored
            if mine.any():
                histogram[verdict] = np.bincount(bins[mine].astype(int), minlength=BINS).tolist()
        kinds, found = dict(Counter(reject_kinds)), dict(Counter(findings))
        return cls(_value_counts(verdicts), kinds, by_label, histogram, found)

    @classmethod
    def total(cls, tallies: Iterable["Tally"]) -> "Tally":
        """The tally of the samples of all tallies; in time linear in what they hold."""
        verdicts, kinds, findings = Counter[str](), Counter[str](), Counter[str]()
        labels: dict[str, Counter[str]] = {}
        histogram: dict[str, np.ndarray] = {}
        for tally in tallies:
            verdicts.update(tally.verdicts)
            kinds.update(tally.reject_kinds)
            findings.update(tally.findings)
            for label, counts in tally.labels.items():
                labels.setdefault(label, Counter()).update(counts)
            for verdict, bins in tally.histogram.items():
                histogram[verdict] = histogram.get(verdict, 0) + np.asarray(bins)
        return cls(
            dict(verdicts),
            dict(kinds),
            {label: dict(counts) for label, counts in labels.items()},
            {verdict: bins.tolist() for verdict, bins in histogram.items()},
            dict(findings),
        )

    def counts(self) -> Counts:
        """Samples by verdict."""
        return Counts.of(self.verdicts)

    def rejected_by_reason(self) -> dict[str, int]:
        """Rejected samples by kind, the most frequent first."""
        return dict(sorted(self.reject_kinds.items(), key=lambda item: (-item[1], item[0])))

    def per_class(self, class_names: Sequence[str] | None = None) -> tuple["ClassCounts", ...]:
        """Samples of each label, in the order of the labels.

        Args:
            class_names: the name of each integer label, if the input has them.
        """
        return tuple(
            ClassCounts(key, class_name(key, class_names), *Counts.of(counts).to_json().values())
            for key, counts in sorted(self.labels.items(), key=lambda item: in_order(item[0]))
        )

    def score_histogram(self) -> "Histogram":
        """Judged samples by their score."""
        clean, poisoned = (self.histogram.get(verdict, [0] * BINS) for verdict in JUDGED)
        return Histogram([i / BINS for i in range(BINS + 1)], clean, poisoned)


@dataclass(frozen=True)
class ClassCounts(Record):
    """Samples of one label by verdict."""

    label: str  #: a :func:`label_key`
    name: str  #: for people
    read: int  #: in all
    clean: int
    poisoned: int
    rejected: int


@dataclass(frozen=True)
class Histogram(Record):
    """Judged samples by their score."""

    edges: list[float]  #: BINS + 1, from 0 to 1
    clean: list[int]  #: samples in each bin
    poisoned: list[int]

    def with_moved(self, moved: Iterable["Moved"]) -> "Histogram":
        """The same, with some samples under another verdict."""
        bins = {CLEAN: list(self.clean), POISONED: list(self.poisoned)}
        for each in moved:
            if each.score is not None:
                place = min(int(each.score * BINS), BINS - 1)
                bins[each.before][place] -= 1
                bins[each.after][place] += 1
        return Histogram(self.edges, bins[CLEAN], bins[POISONED])


@dataclass(frozen=True)
class CalibrationGroupFacts(Record):
    """One group of clean images that p-values are computed against."""

    name: str  #: data set and encoding history
    images: int
    parts: tuple[int, int]  #: it speaks for images of so many parts, least and most
    kind: str  #: what it speaks for, in words
    threshold: float | None  #: score that is flagged above; None where no score reaches the limit


@dataclass(frozen=True)
class CalibrationFacts(Record):
    """Which clean images decided, without their scores."""

    origin: str  #: "stored" with the detector, or "trusted" images of the user
    words: str  #: what decided and what is promised, for people
    #: By the kinds of images of the set, in words, the score that is flagged above.
    thresholds: dict[str, float]
    groups: tuple[CalibrationGroupFacts, ...] = field(repr=False)
    #: What speaks against these clean images, or against images that are judged by each other, in
    #: sentences.
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class PolicyFacts(Record):
    """What turned scores into verdicts: the name of a policy, and its settings."""

    name: str  #: "budget" or "fdr"
    max_clean_loss: float  #: share of clean images that may be lost
    fdr: float | None = None  #: of the policy that controls the false discovery rate

    @classmethod
    def of(cls, policy: Policy) -> Self:
        return cls.from_json({"name": policy.name} | policy.to_json())


@dataclass(frozen=True)
class ScanFacts(Record):
    """What the scan of a set has found."""

    classes: int  #: in the set
    searched: int  #: of them, those that were large enough to be searched
    images: int  #: that carry one of the findings
    # Not shown where Python shows the summary, such as in a notebook: many names of images.
    findings: tuple[Finding, ...] = field(repr=False)


@dataclass(frozen=True)
class SignatureFacts(Record):
    """A trigger that was found in another set, and looked for in this one."""

    name: str  #: by which score rows call it
    path: str  #: of its file, as the user gave it
    whose: str  #: the images of the class where it was found, in words
    made_of: Share  #: of that class, the images that carry it
    found: Share  #: of these, the images that it finds again
    false_alarms: Share  #: of innocent images there, those that it takes for carriers
    images: int  #: of this set that it takes for carriers, and no other trigger more surely


@dataclass(frozen=True)
class SourceFacts(Record):
    """What was read."""

    location: str  #: as the user gave it
    kind: str  #: such as "image folder"
    notes: tuple[str, ...]  #: what the user should know
    image_column: str


@dataclass(frozen=True)
class ReviewFacts(Record):
    """What reviewers have made of the verdicts of a run."""

    decided: int  #: samples on which one has decided
    kept: int  #: of them, those that freqsan had removed and that are clean now
    removed: int  #: those that freqsan had kept and that are poisoned now
    at: str  #: of the last review, ISO 8601 in UTC

    def before(self, counts: Counts) -> Counts:
        """Of a run that was reviewed, the samples by the verdict that freqsan gave."""
        back = self.removed - self.kept
        return replace(counts, clean=counts.clean + back, poisoned=counts.poisoned - back)


@dataclass(frozen=True)
class Moved:
    """A sample whose verdict a review has changed."""

    label: str  #: a :func:`label_key`
    score: float | None
    before: str  #: its verdict until then, one of JUDGED
    after: str  #: and since


@dataclass(frozen=True)
class Summary(Record):
    """What a run of ``clean`` amounts to, as in ``report/summary.json``."""

    counts: Counts
    rejected_by_reason: dict[str, int]  #: the most frequent first
    per_class: tuple[ClassCounts, ...]  #: in the order of the labels
    score_histogram: Histogram
    policy: PolicyFacts
    decision: Decision
    calibration: CalibrationFacts
    fit: CalibrationFit  #: whether it fits the set
    scan: ScanFacts | None  #: what the scan found; None where there was none
    detector: str  #: name and digest
    source: SourceFacts
    versions: dict[str, str]  #: of the packages that may change a result
    signatures: tuple[SignatureFacts, ...] = ()  #: triggers of other sets that were looked for
    review: ReviewFacts | None = None  #: None where nobody has decided otherwise, or the same

    @property
    def judged_counts(self) -> Counts:
        """Samples by the verdict that freqsan gave, whatever a review has made of it."""
        return self.counts if self.review is None else self.review.before(self.counts)

    def reviewed(self, moved: Sequence[Moved], review: ReviewFacts) -> "Summary":
        """The same run, with some samples in another split."""
        by_label: dict[str, list[Moved]] = {}
        for each in moved:
            by_label.setdefault(each.label, []).append(each)
        return replace(
            self,
            counts=_with_moved(self.counts, moved),
            per_class=tuple(
                _with_moved(one, by_label.get(one.label, ())) for one in self.per_class
            ),
            score_histogram=self.score_histogram.with_moved(moved),
            review=review,
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the scan found; nothing where there was no scan."""
        return self.scan.findings if self.scan is not None else ()


Counted = TypeVar("Counted", Counts, ClassCounts)


def _with_moved(counts: Counted, moved: Iterable[Moved]) -> Counted:
    by_verdict = {verdict: getattr(counts, verdict) for verdict in JUDGED}
    for each in moved:
        by_verdict[each.before] -= 1
        by_verdict[each.after] += 1
    return replace(counts, **by_verdict)


#: The share of images that may go unjudged unless a user says otherwise.
MAX_UNJUDGED = 0.5


def unjudged(
    read: int, rejected_by_reason: Mapping[str, int], at_most: float = MAX_UNJUDGED
) -> str:
    """That more of the images than that could not be judged, and why; else nothing.

    Args:
        read: images in all.
        rejected_by_reason: those of them that could not be judged, by kind.
        at_most: the share of images that may go unjudged.

    >>> unjudged(300, {"too many pixels": 200, "animated": 98})
    'only 2 of 300 images could be judged (200 too many pixels, 98 animated)'
    >>> unjudged(4, {"animated": 2})
    ''
    """
    rejected = sum(rejected_by_reason.values())
    judged = read - rejected
    if rejected <= at_most * read:
        return ""
    which = f"only {judged:,} of {read:,} images" if judged else f"none of {read:,} images"
    if read == 1:
        which = "not the one image"
    return f"{which} could be judged ({kinds_in_words(rejected_by_reason)})"


def kinds_in_words(kinds: Mapping[str, int]) -> str:
    """How many images there are of each kind, the most frequent first.

    >>> kinds_in_words({"animated": 2, "too many pixels": 1000})
    '1,000 too many pixels, 2 animated'
    """
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {kind}" for kind, count in ordered)


def label_counts(
    labels: pa.Array | pa.ChunkedArray, verdicts: pa.Array | pa.ChunkedArray
) -> Counter[tuple[str, str]]:
    """Samples by label key and verdict.

    Args:
        labels: (n,) of any Arrow type.
        verdicts: (n,) strings, in chunks where the labels are.
    """
    if pa.types.is_dictionary(labels.type):
        labels = labels.cast(labels.type.value_type)
    counts: Counter[tuple[str, str]] = Counter()
    for verdict in VERDICTS:
        mine = labels.filter(pc.equal(verdicts, verdict))
        if pa.types.is_nested(labels.type):  # which Arrow cannot count
            counts.update((label_key(label), verdict) for label in mine.to_pylist())
        else:
            for label, count in _value_counts(mine).items():
                counts[label_key(label), verdict] += count
    return counts


def label_key(label: Any) -> str:
    """A label of any type as JSON text, so that 1, "1" and a missing label stay apart.

    NaN, which is how pandas spells a missing label, is one: ``"null"``.

    >>> label_key(1), label_key("1"), label_key(None)
    ('1', '"1"', 'null')
    """
    if isinstance(label, float) and label != label:
        label = None
    # As JSON would: a set may have as many labels as images.
    return str(label) if type(label) is int else _AS_JSON.encode(label)


#: Made once: a new one takes as long as what it encodes.
_AS_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str)


def class_name(key: str, class_names: Sequence[str] | None = None) -> str:
    """What a person calls the label of ``key``, a :func:`label_key`.

    >>> class_name("1", ["cat", "dog"])
    'dog'
    """
    label = json.loads(key)
    if label is None:
        return "(no label)"
    if class_names and type(label) is int and 0 <= label < len(class_names):
        return class_names[label]
    return label if isinstance(label, str) else key


def _value_counts(values: pa.Array) -> dict[Any, int]:
    return {item["values"]: item["counts"] for item in pc.value_counts(values).to_pylist()}


def in_order(key: str) -> tuple[bool, float, str]:
    """What to sort label keys by: numbers by size, before all else."""
    label = json.loads(key)
    number = isinstance(label, int | float)
    return not number, label if number else 0, key
