"""Score rows: what they refuse, and their way through Arrow and back."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.records import NO_FINDING, ScoreRow, score_schema, to_batch

unit = st.floats(0, 1, width=32)
judged = st.builds(
    ScoreRow,
    sample_id=st.text(),
    source=st.text(),
    label=st.none() | st.integers(-(2**63), 2**63 - 1),
    width=st.integers(1, 2**31 - 1),
    height=st.integers(1, 2**31 - 1),
    format=st.sampled_from(["PNG", "JPEG"]),
    content_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    score=unit,
    p_value=unit,
    scan_log_odds=st.none() | st.floats(NO_FINDING, -NO_FINDING, width=32),
    finding=st.none() | st.text(),
    verdict=st.sampled_from(["clean", "poisoned"]),
    reason=st.text(),
    detector=st.text(),
)


@given(st.lists(judged, max_size=5))
def test_rows_survive_arrow(rows: list[ScoreRow]) -> None:
    batch = to_batch(rows, score_schema(pa.int64()))
    assert [ScoreRow(**row) for row in batch.to_pylist()] == rows


def row(**changes: object) -> ScoreRow:
    fields = dict.fromkeys(ScoreRow.__slots__) | {
        "sample_id": "a.png",
        "score": 0.5,
        "p_value": 0.5,
        "verdict": "clean",
    }
    return ScoreRow(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["score", "p_value"])
@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -0.1, 1.1])
def test_a_judged_row_needs_a_finite_score_and_p_value(name: str, bad: float | None) -> None:
    with pytest.raises(ValueError, match=f"a.png: (expected.* {name}|clean, yet nothing)"):
        row(**{name: bad})


@pytest.mark.parametrize("bad", [math.nan, math.inf, 40.1, -40.1])
def test_log_odds_are_bounded(bad: float) -> None:
    with pytest.raises(ValueError, match=r"a.png: expected scan_log_odds in \[-40, 40\]"):
        row(scan_log_odds=bad)


def test_a_row_may_be_judged_by_the_scan_alone() -> None:
    row(score=None, p_value=None, scan_log_odds=-3.0)
    with pytest.raises(ValueError, match="rejected, yet scan_log_odds is"):
        row(verdict="rejected", score=None, p_value=None, scan_log_odds=-3.0)


def test_a_rejected_row_has_none() -> None:
    row(verdict="rejected", score=None, p_value=None)
    with pytest.raises(ValueError, match="rejected, yet score is"):
        row(verdict="rejected", p_value=None)


def test_there_are_three_verdicts() -> None:
    with pytest.raises(ValueError, match="verdict: expected one of"):
        row(verdict="dubious")
