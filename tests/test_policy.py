"""Conformal verdicts: the formula, the promise, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.policy import CalibrationGroup, ConformalPolicy

unit = st.floats(0, 1, width=32)


def group(
    scores: list[float], name: str = "g", tiles: tuple[int, int] = (1, 25)
) -> CalibrationGroup:
    return CalibrationGroup(name, *tiles, np.sort(np.array(scores, np.float32)))


@given(st.lists(unit, min_size=1, max_size=60), st.lists(unit, min_size=1, max_size=20))
def test_p_values_follow_the_formula(clean: list[float], scores: list[float]) -> None:
    found = group(clean).p_values(np.array(scores, np.float32))
    expected = [(1 + sum(c >= s for c in clean)) / (1 + len(clean)) for s in scores]
    np.testing.assert_allclose(found, expected)


@given(
    st.lists(unit, min_size=30, max_size=200),
    st.lists(unit, min_size=30, max_size=200),
    st.lists(unit, min_size=1, max_size=50),
    st.sampled_from([0.05, 0.1, 0.25]),
)
def test_an_image_is_flagged_if_and_only_if_it_is_above_the_threshold(
    first: list[float], second: list[float], scores: list[float], loss: float
) -> None:
    policy = ConformalPolicy([group(first), group(second)], loss)
    values = np.array(scores, np.float32)
    judged = policy.judge(values, np.ones(len(scores), int))
    (threshold,) = policy.thresholds().values()
    assert (judged.poisoned == (values > threshold)).all()
    assert (judged.poisoned == (judged.p_values <= loss + 1e-12)).all()


def test_the_promise_holds_for_each_group_and_for_mixtures() -> None:
    rng = np.random.default_rng(0)
    kinds = {"easy": (1, 9), "hard": (4, 4)}
    groups = [group(list(rng.beta(*ab, 2000)), name) for name, ab in kinds.items()]
    policy = ConformalPolicy(groups, 0.01)
    fresh = {name: rng.beta(*ab, 20000).astype(np.float32) for name, ab in kinds.items()}
    for scores in (*fresh.values(), np.concatenate(list(fresh.values()))):
        lost = policy.judge(scores, np.ones(len(scores), int)).poisoned.mean()
        assert lost <= 0.014  # 0.01 and three standard errors of calibration and test


def test_the_group_with_the_largest_p_value_decides_and_is_named() -> None:
    policy = ConformalPolicy([group([0.1] * 99, "low"), group([0.9] * 99, "high")], 0.01)
    judged = policy.judge(np.array([0.5], np.float32), np.array([1]))
    assert judged.groups == ["high"]
    assert judged.p_values[0] == 1.0
    assert not judged.poisoned[0]


def test_groups_speak_only_for_their_numbers_of_tiles() -> None:
    groups = [group([0.1] * 99, "one", (1, 1)), group([0.9] * 99, "many", (2, 25))]
    judged = ConformalPolicy(groups, 0.01).judge(np.array([0.5, 0.5], np.float32), np.array([1, 4]))
    assert judged.groups == ["one", "many"]
    assert judged.poisoned.tolist() == [True, False]
    with pytest.raises(ValueError, match="26 tiles"):
        ConformalPolicy(groups, 0.01).judge(np.array([0.5], np.float32), np.array([26]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_a_score_that_is_no_score_never_passes_for_clean(bad: float) -> None:
    policy = ConformalPolicy([group([0.1] * 99)], 0.01)
    with pytest.raises(ValueError, match="expected scores in"):
        policy.judge(np.array([0.5, bad], np.float32), np.array([1, 1]))


def test_too_few_clean_images_for_the_promise_are_refused_with_the_number_needed() -> None:
    ConformalPolicy([group([0.1] * 99)], 0.01)
    with pytest.raises(ValueError, match=r"98 clean images.*needs at least 99"):
        ConformalPolicy([group([0.1] * 98)], 0.01)


@pytest.mark.parametrize("loss", [0, 0.6, 1, -0.5, float("nan")])
def test_a_clean_loss_out_of_range_is_refused(loss: float) -> None:
    with pytest.raises(ValueError, match=r"above 0, at most 0.5"):
        ConformalPolicy([group([0.1] * 99)], loss)
