"""Conformal p-values: the formula, what follows from it, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.calibration import Calibration, CalibrationGroup
from detector.kinds import ANY_PARTS, ENCODINGS, LOSSLESS, OTHER
from detector.scores import Scores

unit = st.floats(0, 1, width=32)


def group(
    scores: list[float],
    name: str = "g",
    parts: tuple[int, int] = (1, 25),
    encoding: int | None = LOSSLESS,
) -> CalibrationGroup:
    return CalibrationGroup(name, parts, encoding, np.sort(np.array(scores, np.float32)))


def of_parts(
    values: list[float], parts: int | list[int] = 1, encodings: int | list[int] = LOSSLESS
) -> Scores:
    kinds = (np.broadcast_to(of, len(values)) for of in (parts, encodings))
    return Scores(np.array(values, np.float32), *kinds)


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
    threshold = calibration.thresholds(limit, [(1, LOSSLESS)])
    threshold = threshold.get("1-25 parts, lossless", np.inf)
    assert ((p_values <= limit + 1e-12) == (np.array(scores) > threshold)).all()
    assert (p_values >= calibration.smallest_p_value).all()


def test_a_group_too_small_for_the_limit_leaves_its_range_without_threshold() -> None:
    few, many = group([0.5] * 9, parts=(1, 1)), group([0.4] * 99, parts=(2, 4))
    calibration = Calibration((few, many))
    one, three, five = ((parts, LOSSLESS) for parts in (1, 3, 5))
    assert calibration.thresholds(0.01, [one, three]) == {"2-4 parts, lossless": pytest.approx(0.4)}
    assert calibration.thresholds(0.01, [one, five]) == {}
    assert Calibration((many, group([0.1] * 9, parts=(2, 4)))).thresholds(0.01, [three]) == {}
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
    assert [calibration.covers(parts, LOSSLESS) for parts in (1, 9, 10)] == [True, True, False]
    with pytest.raises(ValueError, match="speaks for images of 10 parts, lossless"):
        calibration.p_values(of_parts([0.5], 10))


def test_groups_speak_only_for_their_encoding_and_for_what_no_header_tells() -> None:
    coarse, fine = group([0.9] * 99, "coarse", encoding=1), group([0.1] * 99, "fine", encoding=4)
    calibration = Calibration((coarse, fine))
    p_values = calibration.p_values(of_parts([0.5] * 3, encodings=[1, 4, OTHER]))
    assert p_values.as_high.tolist() == [99, 0, 99]
    assert [calibration.covers(1, e) for e in (LOSSLESS, 1, OTHER)] == [False, True, True]
    assert calibration.thresholds(0.01, [(1, 4), (1, OTHER)]) == {
        "1-25 parts, JPEG from quality 95": pytest.approx(0.1),
        "1-25 parts, otherwise lossy": pytest.approx(0.9),
    }


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
    assert (trusted.name, trusted.parts, trusted.encoding) == ("trusted", ANY_PARTS, None)
    assert Calibration((trusted,)).thresholds(0.5, [(7, 3)]).keys() == {"any parts"}
    assert all(Calibration((trusted,)).covers(64, e) for e in range(len(ENCODINGS)))
    assert trusted.scores.tolist() == np.float32([0.1, 0.3]).tolist()


def test_a_calibration_survives_json_with_its_digest() -> None:
    scores = [round(score, 6) for score in np.random.default_rng(0).random(50)]
    calibration = Calibration((group(scores, "a", (1, 1)), group(scores[:9], "b", (2, 4))))
    stored = json.loads(json.dumps(calibration.to_json()))
    assert set(stored[0]) == {"name", "min_parts", "max_parts", "encoding", "scores", "unusual"}
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
        {"encoding": "parchment"},
        {"encoding": 3},
    ],
)
def test_what_is_no_calibration_is_refused(change: dict) -> None:
    stored = {"name": "a", "min_parts": 1, "max_parts": 4, "encoding": None, "scores": [0.1, 0.2]}
    Calibration.from_json([stored])
    with pytest.raises(ValueError, match=r"."):
        Calibration.from_json([stored | change])


def test_scores_of_batches_are_joined_in_order() -> None:
    scores = of_parts([0.9, 0.5, 0.2], [2, 1, 1], [0, 3, 3])
    joined = Scores.joined([scores, scores])
    assert joined.parts.tolist() == [2, 1, 1] * 2
    assert joined.encodings.tolist() == [0, 3, 3] * 2
    assert joined.values.dtype == np.float32
    assert len(Scores.joined([])) == 0
