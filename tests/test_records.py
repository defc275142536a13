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
    scan_log_odds=st.none() | st.floats(NO_FINDING, -NO_FINDING, width=32, allow_subnormal=False),
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


@pytest.mark.parametrize("name", ["score", "p_value", "scan_log_odds"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -40.1, 40.1])
def test_no_figure_of_a_row_is_out_of_range(name: str, bad: float) -> None:
    with pytest.raises(ValueError, match=f"a.png: expected {name}"):
        row(**{name: bad})


@pytest.mark.parametrize("name", ["score", "p_value"])
def test_a_row_has_a_score_and_a_p_value_or_neither(name: str) -> None:
    with pytest.raises(ValueError, match=r"a.png: expected score and p_value, or neither"):
        row(**{name: None}, scan_log_odds=1.0)


def test_a_judged_row_has_a_score_or_was_scanned() -> None:
    row(score=None, p_value=None, scan_log_odds=NO_FINDING)
    with pytest.raises(ValueError, match=r"a.png: clean, yet nothing has judged it"):
        row(score=None, p_value=None)


@pytest.mark.parametrize("name", ["score", "p_value", "scan_log_odds"])
def test_a_rejected_row_has_no_figure(name: str) -> None:
    nothing = {"verdict": "rejected", "score": None, "p_value": None}
    row(**nothing)
    with pytest.raises(ValueError, match=f"rejected, yet {name} is"):
        row(**(nothing | {name: 0.5}))


def test_there_are_three_verdicts() -> None:
    with pytest.raises(ValueError, match="verdict: expected one of"):
        row(verdict="dubious")
