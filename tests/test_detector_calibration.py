"""Conformal p-values: the formula, what follows from it, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.calibration import ANY, Calibration, CalibrationGroup
from detector.scores import Scores

unit = st.floats(0, 1, width=32)


def group(
    scores: list[float], name: str = "g", parts: tuple[int, int] = (1, 25)
) -> CalibrationGroup:
    return CalibrationGroup(name, *parts, np.sort(np.array(scores, np.float32)))


def of_parts(values: list[float], parts: int | list[int] = 1) -> Scores:
    return Scores(np.array(values, np.float32), np.broadcast_to(parts, len(values)))


@given(st.lists(unit, min_size=1, max_size=60), st.lists(unit, min_size=1, max_size=20))
def test_p_values_follow_the_formula(clean: list[float], scores: list[float]) -> None:
    p_values = Calibration((group(clean),)).p_values(of_parts(scores))
    expected = [(1 + sum(c >= s for c in clean)) / (1 + len(clean)) for s in scores]
    np.testing.assert_allclose(p_values.values, expected)
    assert p_values.as_high.tolist() == [sum(c >= s for c in clean) for s in scores]
    assert p_values.compared.tolist() == [len(clean)] * len(scores)


@given(
    st.lists(unit, min_size=1, max_size=200),
    st.lists(unit, min_size=1, max_size=200),
    st.lists(unit, min_size=1, max_size=50),
    st.sampled_from([0, 0.001, 0.05, 0.1, 0.25, 0.9]),
)
def test_a_p_value_is_below_the_limit_if_and_only_if_the_score_is_above_the_threshold(
    first: list[float], second: list[float], scores: list[float], limit: float
) -> None:
    calibration = Calibration((group(first), group(second)))
    p_values = calibration.p_values(of_parts(scores)).values
    threshold = calibration.thresholds(limit, [1]).get("1-25 parts", np.inf)
    assert ((p_values <= limit + 1e-12) == (np.array(scores) > threshold)).all()
    assert (p_values >= calibration.smallest_p_value).all()


def test_a_group_too_small_for_the_limit_leaves_its_range_without_threshold() -> None:
    few, many = group([0.5] * 9, parts=(1, 1)), group([0.4] * 99, parts=(2, 4))
    calibration = Calibration((few, many))
    assert calibration.thresholds(0.01, [1, 3]) == {"2-4 parts": pytest.approx(0.4)}
    assert calibration.thresholds(0.01, [1, 5]) == {}
    assert Calibration((many, group([0.1] * 9, parts=(2, 4)))).thresholds(0.01, [3]) == {}
    assert few.threshold(0.01) is None
    assert few.threshold(0.1) == 0.5


def test_the_smallest_p_value_is_that_of_the_best_calibrated_range() -> None:
    groups = (group([0.5] * 9, parts=(1, 1)), group([0.5] * 19, parts=(1, 1)), group([0] * 4))
    assert Calibration(groups).smallest_p_value == 0.1
    assert Calibration().smallest_p_value == 1


def test_the_group_with_the_largest_p_value_is_counted() -> None:
    calibration = Calibration((group([0.1] * 99, "low"), group([0.9] * 49, "high")))
    p_values = calibration.p_values(of_parts([0.5]))
    assert (p_values.as_high.tolist(), p_values.compared.tolist()) == ([49], [49])
    assert p_values.values.tolist() == [1.0]


def test_groups_speak_only_for_their_numbers_of_parts() -> None:
    calibration = Calibration((group([0.1] * 99, "one", (1, 1)), group([0.9] * 99, "many", (2, 9))))
    p_values = calibration.p_values(of_parts([0.5, 0.5], [1, 4]))
    assert p_values.as_high.tolist() == [0, 99]
    assert p_values.values.tolist() == [0.01, 1.0]
    assert [calibration.covers(parts) for parts in (1, 9, 10)] == [True, True, False]
    with pytest.raises(ValueError, match="speaks for images of 10 parts"):
        calibration.p_values(of_parts([0.5], 10))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_a_score_that_is_no_score_is_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match="expected scores in"):
        Calibration((group([0.1] * 99),)).p_values(of_parts([0.5, bad]))


def test_too_few_clean_images_are_told_with_the_number_needed() -> None:
    Calibration((group([0.1] * 99),)).check(0.01)
    with pytest.raises(ValueError, match=r"98 clean images.*needs at least 99"):
        Calibration((group([0.1] * 98),)).check(0.01)
    with pytest.raises(ValueError, match="at least one group"):
        Calibration().check(0.5)


def test_trusted_images_are_one_group_for_all_sizes() -> None:
    (trusted,) = Calibration.of_trusted(of_parts([0.3, 0.1], [4, 1])).groups
    assert (trusted.name, trusted.min_parts, trusted.max_parts) == ("trusted", 1, ANY)
    assert trusted.scores.tolist() == np.float32([0.1, 0.3]).tolist()


def test_a_calibration_survives_json_with_its_digest() -> None:
    scores = [round(score, 6) for score in np.random.default_rng(0).random(50)]
    calibration = Calibration((group(scores, "a", (1, 1)), group(scores[:9], "b", (2, 4))))
    stored = json.loads(json.dumps(calibration.to_json()))
    assert set(stored[0]) == {"name", "min_parts", "max_parts", "scores"}
    again = Calibration.from_json(stored)
    assert again.digest() == calibration.digest()
    assert Calibration(calibration.groups[:1]).digest() != calibration.digest()
    renamed = Calibration((group(scores, "c", (1, 1)), calibration.groups[1]))
    assert renamed.digest() != calibration.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [0.2, 0.1]},
        {"scores": [0.1, 1.1]},
        {"scores": "many"},
        {"scores": [[0.1]]},
        {"scores": [True]},
        {"min_parts": 0},
        {"min_parts": 5},
        {"max_parts": 1 << 80},
        {"max_parts": "4"},
        {"name": "two\nlines"},
        {"name": "long" * 100},
        {"name": None},
    ],
)
def test_what_is_no_calibration_is_refused(change: dict) -> None:
    stored = {"name": "a", "min_parts": 1, "max_parts": 4, "scores": [0.1, 0.2]}
    Calibration.from_json([stored])
    with pytest.raises(ValueError, match=r"."):
        Calibration.from_json([stored | change])


def test_scores_are_those_of_the_worst_part() -> None:
    worst = Scores.worst(np.float32([0.1, 0.9, 0.5, 0.2]), np.array([2, 1, 1]))
    assert worst.values.tolist() == np.float32([0.9, 0.5, 0.2]).tolist()
    assert len(Scores.worst(np.zeros(0, np.float32), np.zeros(0, int))) == 0
    joined = Scores.joined([worst, worst])
    assert joined.parts.tolist() == [2, 1, 1] * 2
    assert joined.values.dtype == np.float32
