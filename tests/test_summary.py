"""The summary merges in any order and grouping, and counts every sample once."""

import functools
import json

from hypothesis import given
from hypothesis import strategies as st

from sanitizer.records import CLEAN, POISONED, REJECTED, VERDICTS, ScoreRow
from sanitizer.summary import (
    BINS,
    class_name,
    empty_summary,
    finish_summary,
    label_key,
    merge,
    shard_summary,
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
        verdict=verdict,
        reason="",
        detector="d@0",
    )


labels = st.one_of(st.none(), st.booleans(), st.integers(0, 20), st.text(max_size=3))
rows = st.builds(score_row, st.sampled_from(VERDICTS), st.floats(0, 1), labels)


def summarise(part: list[ScoreRow]) -> dict:
    return shard_summary(part, ["corrupt" for r in part if r.verdict == REJECTED])


@given(st.lists(st.lists(rows, max_size=8), max_size=6), st.randoms())
def test_merging_parts_in_any_order_is_summarising_the_whole(parts, random) -> None:
    whole = summarise([row for part in parts for row in part])
    random.shuffle(parts)
    assert functools.reduce(merge, map(summarise, parts), empty_summary()) == whole
    finished = finish_summary(functools.reduce(merge, map(summarise, parts), empty_summary()))
    assert json.dumps(finished) == json.dumps(finish_summary(whole))


@given(st.lists(rows, max_size=8), st.lists(rows, max_size=8), st.lists(rows, max_size=8))
def test_merge_is_associative_with_an_identity_and_survives_json(a, b, c) -> None:
    a, b, c = summarise(a), summarise(b), summarise(c)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, empty_summary()) == merge(empty_summary(), a) == a
    assert json.loads(json.dumps(a, allow_nan=False)) == a


@given(st.lists(rows))
def test_every_sample_is_counted_once_everywhere(part) -> None:
    summary = finish_summary(summarise(part))
    counts = summary["counts"]
    assert counts["read"] == len(part) == sum(counts[v] for v in VERDICTS)
    assert sum(summary["rejected_by_reason"].values()) == counts[REJECTED]
    for verdict in (CLEAN, POISONED):
        assert sum(summary["score_histogram"][verdict]) == counts[verdict]
    for verdict in ("read", *VERDICTS):
        assert sum(c[verdict] for c in summary["per_class"]) == counts[verdict]


def test_a_merge_leaves_out_what_it_does_not_know() -> None:
    assert merge(empty_summary() | {"rows": 3}, empty_summary()) == empty_summary()


def test_the_ends_of_the_histogram() -> None:
    histogram = summarise([score_row(CLEAN, 0.0, 0), score_row(POISONED, 1.0, 0)])
    assert histogram["score_histogram"][CLEAN][0] == 1
    assert histogram["score_histogram"][POISONED][BINS - 1] == 1


def test_labels_that_look_alike_stay_apart() -> None:
    keys = [label_key(label) for label in (1, "1", None, "null", True, 1.5, [1])]
    assert len(set(keys)) == len(keys)
    assert label_key(float("nan")) == label_key(None)


def test_classes_have_names_and_come_in_order() -> None:
    part = [score_row(CLEAN, 0.5, label) for label in (10, 9, None, "cat")]
    assert [c["name"] for c in finish_summary(summarise(part))["per_class"]] == [
        "9",
        "10",
        "cat",
        "(no label)",
    ]
    assert class_name("1", ["cat", "dog"]) == "dog"
    assert class_name("2", ["cat", "dog"]) == "2"
    assert class_name("true", ["cat", "dog"]) == "true"
