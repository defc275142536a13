"""The set before and after cleaning: balance, sizes, formats, and what may be wrong with it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.report.words import doubtful_calibration, percent, wrong_calibration
from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.estimates import Expected
from sanitizer.policy import ROUNDING
from sanitizer.records import CLEAN, POISONED, REVIEW
from sanitizer.summary import ClassCounts, Summary

#: Classes, formats and sizes that are listed.
LISTED = 8

#: Images with a p-value of at most this are compared in number with what clean ones would be.
PROBED = 0.1

#: Rows of scores that are in memory at a time.
_ROWS = 100_000

_COLUMNS = ["p_value", "scan_log_odds", "finding", "verdict", "decided_by", "width", "height"]


@dataclass(frozen=True)
class Change:
    """Images of one kind, before and after."""

    name: str
    before: int
    after: int
    share_before: float  #: of all images
    share_after: float

    @property
    def points(self) -> float:
        """By how many percentage points its share has changed."""
        return 100 * (self.share_after - self.share_before)


@dataclass(frozen=True)
class Told:
    """An estimate and what it rests on, in words."""

    what: str
    expected: Expected | None  #: None where nothing can be said
    words: str


@dataclass
class _Sums:
    """What all score rows add up to."""

    formats: dict[str, Counter[str]] = field(
        default_factory=lambda: {"before": Counter(), "after": Counter()}
    )
    sizes: dict[str, Counter[str]] = field(
        default_factory=lambda: {"before": Counter(), "after": Counter()}
    )
    removed_by_score: int = 0  #: that no review has decided on, like all that follow
    removed_by_trigger: int = 0  #: and not by score
    innocent: float = 0.0  #: sum of the chances of those to be innocent
    kept: int = 0
    carrying: float = 0.0  #: sum of the chances of kept images to carry what was found
    suspicious: int = 0  #: kept images with a p-value of at most PROBED
    unsuspicious: int = 0  #: images with a larger one


@dataclass(frozen=True)
class BeforeAfter:
    """What cleaning has changed, and estimates of what it has done wrong."""

    classes: list[Change]  #: those whose share has changed most first
    formats: list[Change]  #: the most frequent first
    sizes: list[Change]
    lost: Told
    missed: Told
    suspicious: Told

    @classmethod
    def of(cls, store: Store, summary: Summary, shards: int) -> Self:
        """Count in one pass over the score rows.

        Raises:
            OSError, pyarrow.ArrowInvalid: a file of score rows cannot be read.
        """
        sums, limit = _Sums(), summary.decision.limit
        for rows in _blocks(store, shards):
            _add(sums, rows, limit)
        return cls(
            classes=_of_classes(summary.per_class),
            formats=_changes(sums.formats),
            sizes=_changes(sums.sizes),
            lost=_lost(sums, summary),
            missed=_missed(sums, summary),
            suspicious=_suspicious(sums, summary),
        )


def _blocks(store: Store, shards: int) -> Iterator[pa.RecordBatch]:
    for shard in range(shards):
        with (
            store.open(layout.SCORES.name(shard, shards)) as handle,
            pq.ParquetFile(handle) as file,
        ):
            yield from file.iter_batches(_ROWS, columns=[*_COLUMNS, "format"])


def _add(sums: _Sums, rows: pa.RecordBatch, limit: float) -> None:
    p_values, odds = (
        rows[name].cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        for name in ("p_value", "scan_log_odds")
    )
    is_kept, is_removed, by_review = (
        pc.equal(rows[name], value).to_numpy(zero_copy_only=False)
        for name, value in (("verdict", CLEAN), ("verdict", POISONED), ("decided_by", REVIEW))
    )
    sizes = pc.binary_join_element_wise(
        rows["width"].cast(pa.string()), rows["height"].cast(pa.string()), " x "
    )
    for counts, values in ((sums.formats, rows["format"]), (sums.sizes, sizes)):
        for when, chosen in (("before", is_kept | is_removed), ("after", is_kept)):
            for one in pc.value_counts(values.filter(pa.array(chosen))).to_pylist():
                counts[when][one["values"] or "unknown"] += one["counts"]
    chance = 1 / (1 + np.exp(-np.nan_to_num(odds, nan=-np.inf)))
    by_score = is_removed & ~by_review & (p_values <= limit + ROUNDING)
    by_trigger = is_removed & ~by_review & ~by_score
    kept = is_kept & ~by_review
    sums.removed_by_score += int(by_score.sum())
    sums.removed_by_trigger += int(by_trigger.sum())
    sums.innocent += float((1 - chance[by_trigger]).sum())
    sums.kept += int(kept.sum())
    sums.carrying += float(chance[kept].sum())
    sums.suspicious += int((kept & (p_values <= PROBED)).sum())
    sums.unsuspicious += int((p_values > PROBED).sum())


def _of_classes(per_class: tuple[ClassCounts, ...]) -> list[Change]:
    """The classes whose share of the set has changed most."""
    judged = {one.label: one.clean + one.poisoned for one in per_class}
    kept = {one.label: one.clean for one in per_class}
    names = {one.label: one.name for one in per_class}
    changes = _compared(judged, kept, names)
    return sorted(changes, key=lambda one: (-abs(one.points), one.name))[:LISTED]


def _changes(counts: Mapping[str, Counter[str]]) -> list[Change]:
    """The most frequent kinds; all others together."""
    before, after = counts["before"], counts["after"]
    changes = _compared(before, after, {name: name for name in before})
    changes.sort(key=lambda one: (-one.before, one.name))
    if len(changes) <= LISTED:
        return changes
    shown, rest = changes[: LISTED - 1], changes[LISTED - 1 :]
    totals = (sum(getattr(one, name) for one in rest) for name in _NUMBERS)
    return [*shown, Change(f"{len(rest):,} others", *totals)]


#: The fields of a change that add up.
_NUMBERS = ("before", "after", "share_before", "share_after")


def _compared(
    before: Mapping[str, int], after: Mapping[str, int], names: Mapping[str, str]
) -> list[Change]:
    total, left = max(1, sum(before.values())), max(1, sum(after.values()))
    return [
        Change(names[key], count, after.get(key, 0), count / total, after.get(key, 0) / left)
        for key, count in before.items()
    ]


def _lost(sums: _Sums, summary: Summary) -> Told:
    what = "innocent images that were removed"
    decision, removed = summary.decision, sums.removed_by_score + sums.removed_by_trigger
    if _in_doubt(summary) and sums.removed_by_score:
        return Told(what, None, "The calibration is in doubt, so nobody can tell.")
    # A review has looked at the others.
    left = sums.removed_by_score / max(1, decision.removed)
    expected = min(decision.expected_innocents * left, sums.removed_by_score) + sums.innocent
    return Told(
        what,
        Expected.of(expected, removed),
        "If clean images of this set score as those do that they are compared with, and the odds "
        "of carrying a trigger are right. For scores it is the most that is expected.",
    )


def _in_doubt(summary: Summary) -> bool:
    return bool(wrong_calibration(summary) or doubtful_calibration(summary))


def _missed(sums: _Sums, summary: Summary) -> Told:
    what = "carriers of a trigger that was found, that were kept"
    if not summary.findings and not summary.signatures:
        return Told(what, None, "No trigger was found.")
    return Told(
        what,
        Expected.of(sums.carrying, sums.kept),
        "If the odds of carrying it are right. The nearest of them are in the review above.",
    )


def _suspicious(sums: _Sums, summary: Summary) -> Told:
    what = "kept images that look manipulated, beyond those that are so by chance"
    if not sums.suspicious + sums.unsuspicious:
        return Told(what, None, "No image has a score.")
    if _in_doubt(summary):
        return Told(what, None, "The calibration is in doubt, so nobody can tell.")
    if summary.decision.limit >= PROBED:
        return Told(what, None, "All images that look so were removed.")
    # Clean images lie evenly over all p-values.
    by_chance = sums.unsuspicious * (PROBED - summary.decision.limit) / (1 - PROBED)
    return Told(
        what,
        Expected.excess(sums.suspicious, by_chance),
        "If clean images of this set score as those do that they are compared with: of them "
        f"{percent(PROBED)} have a p-value that low. Triggers that change neither the score of an "
        "image nor show in its class are in no estimate; freqsan evaluate measures which.",
    )
