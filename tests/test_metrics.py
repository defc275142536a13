"""Figures of merit against values worked out by hand or by brute force."""

import json

import numpy as np
import pytest

from sanitizer.detection import Detection
from sanitizer.metrics import (
    Estimate,
    Share,
    auroc,
    auroc_interval,
    balanced_accuracy,
    bdr_at_fpr,
    pooled,
    rate,
    wilson,
)


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    clean, poisoned = rng.integers(0, 10, 40), rng.integers(3, 13, 30)
    pairs = poisoned[:, None] - clean
    assert auroc(clean, poisoned) == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    assert auroc(np.zeros(3), np.ones(2)) == 1
    assert auroc(np.ones(3), np.ones(2)) == 0.5


def test_auroc_interval_holds_the_figure_and_repeats() -> None:
    rng = np.random.default_rng(0)
    clean, poisoned = rng.normal(0, 1, 200), rng.normal(1, 1, 200)
    low, high = auroc_interval(clean, poisoned, rounds=200)
    assert low < auroc(clean, poisoned) < high
    assert high - low < 0.15
    assert (low, high) == auroc_interval(clean, poisoned, rounds=200)


def test_wilson_against_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(20, 20)[1] == 1
    with pytest.raises(ValueError, match="successes"):
        wilson(3, 2)


def test_rate_is_the_share_of_true() -> None:
    assert rate(np.array([True, False, False, True])) == 0.5


def test_bdr_at_fpr_never_flags_more_clean_than_allowed() -> None:
    clean = np.arange(100) / 100
    assert bdr_at_fpr(clean, np.array([0.985, 0.975]), 0.01) == 0.5
    assert bdr_at_fpr(clean, np.array([0.995, 0.99]), 0.001) == 0.5
    assert bdr_at_fpr(np.ones(10), np.ones(10), 0.1) == 0


@pytest.mark.parametrize("bad", [np.zeros(0), np.array([0.1, np.nan]), np.zeros((2, 2))])
def test_no_figures_of_nothing(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least one finite value"):
        auroc(bad, np.ones(2))


@pytest.mark.parametrize("n", [1, 2, 127, 450])
def test_a_share_of_nothing_or_everything_lies_within_its_interval(n: int) -> None:
    for flags in (np.zeros(n, bool), np.ones(n, bool)):
        share = Share.counted(flags)
        assert share.interval is not None
        low, high = share.interval
        assert 0 <= low <= flags[0] == share.value <= high <= 1


def test_a_share_is_written_and_read_back() -> None:
    share = Share.counted(np.array([True, True, False, False]))
    written = json.loads(json.dumps(share.to_json()))
    assert written == {"value": 0.5, "interval": [*wilson(2, 4)], "count": 2, "of": 4}
    assert Share.from_json(written) == share
    nothing = Share.counted(np.zeros(0, bool))
    assert nothing.to_json() == {"value": None, "interval": None, "count": 0, "of": 0}


def test_a_single_run_keeps_its_own_interval_and_several_get_that_of_the_mean() -> None:
    single = Share.counted(np.arange(1000) < 500)
    assert pooled([single]) == Estimate(0.5, single.interval)
    both = pooled([Estimate(0.4, None), Estimate(0.6, None)])
    assert both.value == pytest.approx(0.5)
    assert both.interval == (0, 1)  # 12.7 x 0.1 either way
    assert pooled([Share.from_counts(0, 9)] * 3) == Estimate(0.0, None)
    assert pooled([single, Share.counted(np.zeros(0, bool))]) == Estimate(None, None)
    assert pooled([None]) == pooled([single, None]) == Estimate(None, None)


def test_accuracy_of_two_halves_against_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 873, table II, method 10: of 56/70 - 48/80.
    accuracy = balanced_accuracy(Share.from_counts(56, 70), Share.from_counts(48, 80))
    assert accuracy.value == pytest.approx(0.6)
    assert accuracy.interval == pytest.approx(((1 + 0.0524) / 2, (1 + 0.3339) / 2), abs=1e-4)
    nothing = Share.counted(np.zeros(0, bool))
    assert balanced_accuracy(nothing, Share.from_counts(1, 2)) == Estimate(None, None)


def test_detection_leaves_out_what_was_not_judged_and_keeps_covers_apart() -> None:
    kinds = np.array(["clean"] * 3 + ["poisoned"] * 3 + ["cover"])
    scores = np.array([0.1, 0.5, np.nan, 0.4, 0.9, np.nan, 0.8])
    detection = Detection.of(kinds, scores, scores > 0.45)
    shares = (detection.bdr, detection.fpr, detection.cover)
    assert [(share.count, share.of) for share in shares] == [(1, 2), (1, 2), (1, 1)]
    assert detection.not_judged == {"clean": 1, "poisoned": 1, "cover": 0}
    assert detection.auroc is not None
    assert detection.auroc.value == 0.75
    at_one_percent = detection.bdr_at(0.01)
    assert at_one_percent is not None
    assert at_one_percent.value == 0.5
    assert Detection.from_json(detection.to_json()) == detection


def test_detection_of_a_set_that_was_not_judged_has_no_figures() -> None:
    kinds = np.array(["clean", "poisoned"])
    detection = Detection.of(kinds, np.full(2, np.nan), np.zeros(2, bool))
    assert detection.bdr.value is None
    assert detection.auroc is None
    assert detection.bdr_at(0.01) is None
