"""What a set tells of its own clean images, and how the parts of an image add up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.bulk import ENOUGH, FEWEST, SHARES, Bulk, OwnScale, _quantiles
from detector.calibration import Calibration, CalibrationGroup
from detector.combination import Combination, Scale, combined, figures
from detector.inputs import About
from detector.scores import Scores, log_odds

rng = np.random.default_rng(0)


def scores_of(odds: np.ndarray) -> np.ndarray:
    return np.sort(1 / (1 + np.exp(-odds))).astype(np.float32)


def clean(n: int, middle: float, spread: float, seed: int) -> np.ndarray:
    """Log odds with a heavier upper end than lower one, as clean images have."""
    draws = np.random.default_rng(seed)
    return middle + spread * (draws.normal(size=n) + 0.4 * draws.exponential(size=n))


GROUPS = tuple(
    CalibrationGroup(
        f"{middle} {spread}", (1, 1), encoding, scores_of(clean(1500, middle, spread, 1))
    )
    for middle in (-5.0, -4.0, -3.0)
    for spread in (0.5, 1.0)
    for encoding in (0, 2)
)
CALIBRATION = Calibration(GROUPS)


def of_kind(odds: np.ndarray, parts: int = 1, encoding: int = 0) -> Scores:
    values = 1 / (1 + np.exp(-odds))
    kinds = (np.full(len(odds), kind, np.int64) for kind in (parts, encoding))
    return Scores(values.astype(np.float32), *kinds)


def p_values(scores: Scores, of: Scores) -> np.ndarray:
    own = OwnScale.of(CALIBRATION, of)
    return own.p_values(scores, CALIBRATION.p_values(scores).values)


def test_quantiles_of_many_arrays_at_once_are_those_of_each() -> None:
    several = [rng.normal(size=length) for length in (2001, 30, 2001, 31, 2001, 30)]
    before = [one.copy() for one in several]
    each = [np.quantile(one, SHARES) for one in several]
    np.testing.assert_array_equal(_quantiles(several, SHARES), each)
    np.testing.assert_array_equal(np.concatenate(several), np.concatenate(before))


@settings(deadline=None)
@given(
    st.floats(-6, -2),
    st.floats(0.4, 1.5),
    st.sampled_from([0, 0.05, 0.1, 0.2, 0.3]),
    st.floats(0, 8),
    st.integers(0, 99),
)
def test_few_clean_images_are_lost_whatever_the_trigger_and_the_place_of_the_set(
    middle: float, spread: float, poison: float, shift: float, seed: int
) -> None:
    innocent = clean(4000, middle, spread, seed)
    carriers = clean(round(4000 * poison / (1 - poison)), middle, spread, seed + 1) + shift
    whole = of_kind(np.concatenate([innocent, carriers]))
    assert (p_values(of_kind(innocent), whole) <= 0.01).mean() < 0.025


def test_a_set_in_another_place_is_judged_by_itself_where_the_groups_would_judge_wrongly() -> None:
    """The stored groups lose all of it, or find nothing."""
    high, low = of_kind(clean(4000, 1.0, 0.7, 5)), of_kind(clean(4000, -7.0, 0.3, 6))
    assert (CALIBRATION.p_values(high).values <= 0.01).mean() > 0.9
    assert 0.002 < (p_values(high, high) <= 0.01).mean() < 0.02
    suspicious = of_kind(np.full(200, -4.5))
    assert (CALIBRATION.p_values(suspicious).values > 0.3).all()
    whole = Scores.joined([low, suspicious])
    assert (p_values(suspicious, whole) <= 0.01).mean() in (0, 1)


def test_p_values_fall_with_the_score_and_have_bounds() -> None:
    curve = Bulk(GROUPS).curve(of_kind(clean(1000, -4, 1, 3)).values)
    asked = np.linspace(0, 1, 500, dtype=np.float32)
    found = curve.p_value(asked)
    assert (np.diff(found) <= 0).all()
    assert found[0] == 1
    assert found[-1] == pytest.approx(SHARES[-1])
    threshold = curve.threshold(0.01)
    assert curve.p_value(np.array([threshold]))[0] == pytest.approx(0.01)
    assert curve.threshold(0.0005) is None


def test_kinds_of_which_there_are_few_are_compared_with_the_stored_groups() -> None:
    many, few = of_kind(clean(ENOUGH, -4, 1, 1)), of_kind(clean(ENOUGH - 1, -4, 1, 2), encoding=2)
    large = of_kind(clean(900, -4, 1, 3), parts=4)  # of which there is no group
    whole = Scores.joined([many, few, large])
    own = OwnScale.of(CALIBRATION, whole)
    assert set(own.curves) == {(0, 0)}
    assert own.covers(whole).tolist() == [True] * ENOUGH + [False] * (ENOUGH - 1 + 900)
    stored = np.linspace(0.1, 0.9, len(whole))
    assert (own.p_values(whole, stored)[ENOUGH:] == stored[ENOUGH:]).all()
    assert list(own.thresholds(0.01)) == ["1 part, lossless"]


def test_a_small_set_is_judged_by_itself_too() -> None:
    """But not the few of another kind in a large one, which may all be poison."""
    small = of_kind(clean(FEWEST, 3, 1, 1))  # far above all stored groups
    assert OwnScale.of(CALIBRATION, small).covers(small).all()
    p_values = OwnScale.of(CALIBRATION, small).p_values(small, np.full(len(small), 0.001))
    assert np.mean(p_values <= 0.01) < 0.1
    fewer = of_kind(clean(FEWEST - 1, 3, 1, 1))
    assert not OwnScale.of(CALIBRATION, fewer).covers(fewer).any()
    among_many = Scores.joined([small, of_kind(clean(10 * FEWEST, -4, 1, 2), encoding=2)])
    assert not OwnScale.of(CALIBRATION, among_many).covers(among_many)[:FEWEST].any()


def test_images_that_are_all_alike_are_not_told_apart() -> None:
    """A spread of nothing would call half of them poisoned."""
    alike = of_kind(np.full(1000, -6.0) + 1e-4 * rng.normal(size=1000))
    assert (p_values(alike, alike) > 0.1).all()


def test_scores_of_0_and_1_have_finite_log_odds() -> None:
    assert np.isfinite(log_odds(np.float32([0, 1]))).all()
    ends = of_kind(np.concatenate([clean(500, -4, 1, 3), [80.0, -80.0]]))
    assert np.isfinite(p_values(ends, ends)).all()


# --- The parts of an image ------------------------------------------------------------------


def parts_of(n: int, seed: int, count: int = 20) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(-4, 1, (n, count)))


COMBINATION = Combination.of(
    (10, 24), figures(parts_of(2000, 0), [14] * 2000), Scale((-4.0,), (1.0,))
)


def together(logits: list[np.ndarray], flat: float = 0.0) -> np.ndarray:
    about = [About(min(14, len(of)), 0, flat) for of in logits]
    return combined(logits, about, (COMBINATION,))


def test_images_of_many_parts_score_as_those_of_one() -> None:
    values = together(parts_of(2000, 1))
    assert values.mean() == pytest.approx(-4, abs=0.1)
    assert values.std() == pytest.approx(1, abs=0.1)


def test_one_part_and_all_parts_are_noticed_and_the_coarse_ones_too() -> None:
    stamped, layered, shrunk = (np.stack(parts_of(300, 2)) for _ in range(3))
    stamped[:, 3] += 9
    layered[:, :14] += 1.5
    shrunk[:, -1] += 9
    threshold = np.quantile(together(parts_of(2000, 1)), 0.99)
    for changed in (stamped, layered, shrunk):
        assert (together(list(changed)) > threshold).mean() > 0.9


def test_one_part_speaks_for_itself_and_unknown_sizes_by_their_worst() -> None:
    assert together([np.array([2.5]), np.array([1.0, 3.0, 2.0])]).tolist() == [2.5, 3.0]


def test_a_clear_flat_square_adds_to_the_logit_and_a_small_one_does_not() -> None:
    assert together([np.array([0.0])], flat=40)[0] == 0
    assert together([np.array([0.0])], flat=80)[0] == 8
    assert together([np.array([0.0])], flat=600)[0] == 8


def test_a_combination_of_other_figures_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 4 figures"):
        Combination((2, 9), Scale((0.0,), (1.0,)), Scale((0.0,), (1.0,)), Scale((0.0,), (1.0,)))
    for parts in ((9, 2), (1, 9)):
        with pytest.raises(ValueError, match="expected 2 <= min <= max parts"):
            replace(COMBINATION, parts=parts)
    assert Combination.from_json(COMBINATION.to_json()) == COMBINATION


def long_tailed(n: int, seed: int, tail: float = 2) -> np.ndarray:
    """As drawings score: some of them far above the others."""
    draws = np.random.default_rng(seed)
    return -4 + draws.normal(0, 0.3, n) + draws.exponential(tail, n)


def test_unusual_groups_teach_what_long_tails_look_like() -> None:
    unusual = tuple(
        CalibrationGroup(str(tail), (1, 1), None, scores_of(long_tailed(500, i, tail)))
        for i, tail in enumerate((1.5, 2, 3))
    )
    drawings = of_kind(long_tailed(2000, 9))
    lost = []
    for calibration in (CALIBRATION, Calibration(GROUPS, unusual)):
        own = OwnScale.of(calibration, drawings)
        lost.append((own.p_values(drawings, np.ones(len(drawings))) <= 0.01).mean())
    assert lost[0] > 0.05
    assert lost[1] < 0.03
    photos, suspicious = of_kind(clean(2000, -4, 0.7, 8)), of_kind(np.zeros(20))
    own = OwnScale.of(Calibration(GROUPS, unusual), photos)
    assert (own.p_values(photos, np.ones(len(photos))) <= 0.01).mean() < 0.02
    assert (own.p_values(suspicious, np.ones(len(suspicious))) <= 0.01).all()


def test_unusual_groups_are_stored_and_compared_with_no_image() -> None:
    unusual = (CalibrationGroup("drawings", (1, 1), None, scores_of(long_tailed(500, 1))),)
    calibration = Calibration(GROUPS, unusual)
    stored = Calibration.from_json(calibration.to_json())
    assert [group.name for group in stored.groups] == [group.name for group in GROUPS]
    assert [group.name for group in stored.unusual] == ["drawings"]
    assert calibration.digest() not in (
        CALIBRATION.digest(),
        Calibration((*GROUPS, *unusual)).digest(),
    )
    asked = of_kind(clean(50, -3, 1, 2))
    np.testing.assert_array_equal(
        calibration.p_values(asked).values, CALIBRATION.p_values(asked).values
    )
