"""Tallies add up in any order and grouping, and count every sample once."""

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from summaries import summary_of, tally_of

from sanitizer.records import CLEAN, POISONED, REJECTED, VERDICTS, ScoreRow
from sanitizer.summary import (
    BINS,
    Counts,
    PolicyFacts,
    Summary,
    Tally,
    class_name,
    label_counts,
    label_key,
)


def score_row(verdict: str, score: float, label: object) -> ScoreRow:
    judged = verdict != REJECTED
    return ScoreRow(
        sample_id="a.png",
        source="a",
        label=label,
        width=32,
        height=32,
        format="PNG",
        content_sha256=None,
        score=score if judged else None,
        p_value=0.5 if judged else None,
        scan_log_odds=None,
        finding=None,
        verdict=verdict,
        reason="",
        detector="d@0",
    )


labels = st.one_of(st.none(), st.integers(0, 20))
rows = st.builds(score_row, st.sampled_from(VERDICTS), st.floats(0, 1), labels)


@given(st.lists(st.lists(rows, max_size=8), max_size=6), st.randoms())
def test_the_total_of_parts_in_any_order_is_the_tally_of_the_whole(parts, random) -> None:
    whole = tally_of([row for part in parts for row in part])
    random.shuffle(parts)
    total = Tally.total(map(tally_of, parts))
    assert total == whole
    # What people read does not depend on the order either, down to the order of the keys.
    assert str(summary_of(total).to_json()) == str(summary_of(whole).to_json())


@given(st.lists(rows, max_size=8), st.lists(rows, max_size=8), st.lists(rows, max_size=8))
def test_the_total_does_not_depend_on_the_grouping_and_survives_json(a, b, c) -> None:
    a, b, c = map(tally_of, (a, b, c))
    total = Tally.total([a, b, c])
    assert Tally.total([Tally.total([a, b]), c]) == Tally.total([a, Tally.total([b, c])]) == total
    assert Tally.total([a, Tally()]) == Tally.total([Tally(), a]) == a
    assert Tally.total([]) == tally_of([]) == Tally()
    assert Tally.from_json(total.to_json()) == total


@given(st.lists(rows))
def test_every_sample_is_counted_once_everywhere(part) -> None:
    summary = summary_of(tally_of(part))
    counts = summary.counts
    assert counts.read == len(part) == counts.clean + counts.poisoned + counts.rejected
    assert sum(summary.rejected_by_reason.values()) == counts.rejected
    assert sum(summary.score_histogram.clean) == counts.clean
    assert sum(summary.score_histogram.poisoned) == counts.poisoned
    for kind in ("read", *VERDICTS):
        assert sum(getattr(one, kind) for one in summary.per_class) == getattr(counts, kind)


@given(st.lists(rows))
def test_a_summary_survives_json(part) -> None:
    summary = summary_of(tally_of(part), ["ant", "bee"])
    assert Summary.from_json(summary.to_json()) == summary
    fdr = replace(summary, policy=PolicyFacts("fdr", 0.01, 0.05))
    assert Summary.from_json(fdr.to_json()) == fdr


def test_a_summary_with_a_missing_or_wrong_field_is_refused() -> None:
    written = summary_of(Tally()).to_json()
    with pytest.raises(ValueError, match=r"counts\.clean"):
        Summary.from_json(written | {"counts": written["counts"] | {"clean": "many"}})
    with pytest.raises(ValueError, match="decision"):
        Summary.from_json({k: v for k, v in written.items() if k != "decision"})


def steps(function: Callable[[], Any]) -> int:
    """How many calls Python makes while a function runs."""
    count = 0

    def on_event(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_the_total_takes_time_linear_in_the_number_of_labels() -> None:
    # Twice the parts hold twice the labels. Adding parts one after the other to a sum that is
    # copied each time would take four times as many steps.
    def parts(number: int) -> list[Tally]:
        return [
            Tally({CLEAN: 20}, {}, {str(20 * k + i): {CLEAN: 1} for i in range(20)}, {})
            for k in range(number)
        ]

    counts = []
    for number in (50, 100, 200):
        some = parts(number)
        assert len(Tally.total(some).labels) == 20 * number
        counts.append(steps(lambda some=some: Tally.total(some)))
    assert counts[0] >= 20 * 50  # a step for each label at least, so that growth would show
    for fewer, more in pairwise(counts):
        assert more <= 2.1 * fewer


def test_each_part_is_read_once_while_the_total_is_made() -> None:
    read: list[int] = []

    def parts():
        for k in range(100):
            read.append(k)
            yield Tally({CLEAN: 1}, {}, {str(k): {CLEAN: 1}}, {})

    assert Tally.total(parts()).counts() == Counts(100, 100, 0, 0)
    assert read == list(range(100))


def test_the_ends_of_the_histogram() -> None:
    histogram = tally_of([score_row(CLEAN, 0.0, 0), score_row(POISONED, 1.0, 0)]).score_histogram()
    assert histogram.clean[0] == 1
    assert histogram.poisoned[BINS - 1] == 1
    assert len(histogram.edges) == BINS + 1
    assert (histogram.edges[0], histogram.edges[-1]) == (0, 1)


def test_reject_reasons_come_by_number_and_then_by_name() -> None:
    verdicts = pa.array([REJECTED] * 4)
    kinds = ["corrupt", "animated", "too large", "too large"]
    tally = Tally.of(verdicts, np.full(4, np.nan), pa.array([0] * 4), kinds)
    assert list(tally.rejected_by_reason().items()) == [
        ("too large", 2),
        ("animated", 1),
        ("corrupt", 1),
    ]


def test_labels_that_look_alike_stay_apart() -> None:
    keys = [label_key(label) for label in (1, "1", None, "null", True, 1.5, [1])]
    assert len(set(keys)) == len(keys)
    assert label_key(float("nan")) == label_key(None)


@pytest.mark.parametrize(
    ("label_type", "values", "keys"),
    [
        (pa.bool_(), [True, False], ["true", "false"]),
        (pa.string(), ["cat", None], ['"cat"', "null"]),
        (pa.float64(), [1.5, float("nan")], ["1.5", "null"]),
        (pa.dictionary(pa.int32(), pa.string()), ["cat", None], ['"cat"', "null"]),
        (pa.list_(pa.int64()), [[1, 2], []], ["[1, 2]", "[]"]),
        (pa.struct([("a", pa.int64())]), [{"a": 1}, None], ['{"a": 1}', "null"]),
    ],
)
def test_labels_of_any_type_are_counted(label_type, values, keys) -> None:
    verdicts = pa.array([CLEAN, CLEAN, POISONED])
    labels = pa.array([*values, values[0]], label_type)
    counts = {(keys[0], CLEAN): 1, (keys[1], CLEAN): 1, (keys[0], POISONED): 1}
    assert label_counts(labels, verdicts) == counts
    two = pa.chunked_array([pa.array(values, label_type), pa.array(values[:1], label_type)])
    assert label_counts(two, pa.chunked_array([verdicts[:2], verdicts[2:]])) == counts


def test_classes_have_names_and_come_in_order() -> None:
    numbers = Tally.total(tally_of([score_row(CLEAN, 0.5, label)]) for label in (10, 9, None))
    words = tally_of([score_row(CLEAN, 0.5, "cat")], pa.string())
    names = [one.name for one in Tally.total([words, numbers]).per_class()]
    assert names == ["9", "10", "cat", "(no label)"]
    assert class_name("1", ["cat", "dog"]) == "dog"
    assert class_name("2", ["cat", "dog"]) == "2"
    assert class_name("true", ["cat", "dog"]) == "true"
