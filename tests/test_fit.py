"""Whether the calibration fits: a set that is shifted as a whole, against one with some poison."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanitizer.fit import (
    CalibrationFit,
    ScoreShape,
    fit,
    more_than,
    rise,
    standing_out,
)

LIMIT = 0.01
CALIBRATION = np.sort(np.random.default_rng(0).normal(-2, 0.5, 1500))
CLASSES = 10


def fit_of(log_odds: np.ndarray, labels: np.ndarray) -> tuple[CalibrationFit, list[bool]]:
    """What is said of a set with these scores, and which of its classes stand out."""
    as_high = len(CALIBRATION) - np.searchsorted(CALIBRATION, log_odds)
    p_values = (1 + as_high) / (1 + len(CALIBRATION))
    removed = np.bincount(labels[p_values <= LIMIT], minlength=CLASSES)
    judged = np.bincount(labels, minlength=CLASSES)
    shape = ScoreShape.of(1 / (1 + np.exp(-log_odds)), p_values, LIMIT)
    facts = fit(removed, judged, shape, LIMIT, len(CALIBRATION))
    return facts, standing_out(removed, judged, LIMIT).tolist()


def clean_set(seed: int, shift: float = 0.0) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """2,000 images that score ``shift`` higher than those of the calibration."""
    rng = np.random.default_rng(seed)
    return rng, rng.normal(-2 + shift, 0.5, 2000), rng.integers(0, CLASSES, 2000)


@pytest.mark.parametrize("seed", range(5))
def test_a_set_like_the_calibration_fits_and_no_class_stands_out(seed: int) -> None:
    _, log_odds, labels = clean_set(seed)
    facts, out = fit_of(log_odds, labels)
    assert not facts.wrong
    assert not any(out)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [0.4, 1.0, 3.0])
def test_a_set_that_is_shifted_as_a_whole_does_not_fit(seed: int, shift: float) -> None:
    _, log_odds, labels = clean_set(seed, shift)
    facts, _ = fit_of(log_odds, labels)
    assert facts.wrong
    assert facts.spread
    assert facts.kept_suspicious
    assert not facts.split
    assert fit_of(log_odds, np.zeros_like(labels))[0].wrong  # without labels, too


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_poison_under_one_label_is_no_wrong_calibration_and_its_class_stands_out(
    seed: int, rate: float
) -> None:
    rng, log_odds, labels = clean_set(seed)
    poison = rng.random(2000) < rate
    log_odds[poison] += 1.5  # half of it is found, and no hump shows
    labels[poison] = 3
    facts, out = fit_of(log_odds, labels)
    assert not facts.wrong
    assert np.flatnonzero(out).tolist() == [3]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1])
def test_poison_in_all_classes_splits_the_scores_in_two(seed: int, rate: float) -> None:
    rng, log_odds, labels = clean_set(seed)
    log_odds[rng.random(2000) < rate] += 4
    facts, _ = fit_of(log_odds, labels)
    assert facts.split
    assert facts.spread or rate < 0.05
    assert not facts.wrong


def test_poison_that_barely_shows_leaves_the_kept_images_as_they_were() -> None:
    rng, log_odds, labels = clean_set(0)
    log_odds[rng.random(2000) < 0.1] += 1.2
    facts, _ = fit_of(log_odds, labels)
    assert facts.spread
    assert not facts.split
    assert not facts.kept_suspicious
    assert not facts.wrong


def test_chance_is_larger_with_fewer_calibration_images() -> None:
    assert more_than(30, 1000, 0.01, 100_000)
    assert not more_than(30, 1000, 0.01, 99)
    assert not more_than(0, 0, 0.01, 99)


@given(st.integers(0, 200), st.integers(1, 3000), st.sampled_from([0.01, 0.25]))
def test_more_is_never_less_than_more(count: int, images: int, share: float) -> None:
    if more_than(count, 200, share, images):
        assert more_than(min(200, count + 1), 200, share, images)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 200)), max_size=8), st.randoms())
def test_which_class_stands_out_does_not_depend_on_the_order(counts, random) -> None:
    def out(pairs: list[tuple[int, int]]) -> dict[tuple[int, int], bool]:
        removed = np.array([lost for lost, _ in pairs], np.int64)
        judged = removed + np.array([kept for _, kept in pairs], np.int64)
        return dict(zip(pairs, standing_out(removed, judged, LIMIT).tolist(), strict=True))

    before = out(counts)
    random.shuffle(counts)
    assert out(counts) == before


def test_a_class_must_be_above_the_rest_and_not_only_above_the_promise() -> None:
    judged = np.full(8, 500)
    assert not standing_out(np.full(8, 45), judged, LIMIT).any()
    assert not standing_out(np.array([60, 40, 45, 50, 45, 42, 38, 44]), judged, LIMIT).any()
    assert standing_out(np.array([160, 40, 45, 50, 45, 42, 38, 44]), judged, LIMIT)[0]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-5, 5))
def test_a_hump_is_the_same_on_any_scale_and_in_any_order(seed: int, scale, shift) -> None:
    values = np.random.default_rng(seed).normal(size=300)
    expected = rise(values)
    assert rise(values[::-1] * scale + shift) == pytest.approx(expected, abs=0.02)


def test_few_and_equal_values_have_no_hump() -> None:
    assert rise(np.zeros(0)) == rise(np.zeros(1000)) == rise(np.arange(10.0)) == 0
