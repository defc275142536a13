"""Figures of merit against values worked out by hand or by brute force."""

import numpy as np
import pytest

from sanitizer.metrics import (
    auroc,
    auroc_interval,
    balanced_accuracy,
    bdr_at_fpr,
    rate,
    wilson,
)


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    clean, poisoned = rng.integers(0, 10, 40), rng.integers(3, 13, 30)
    pairs = poisoned[:, None] - clean
    assert auroc(clean, poisoned) == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    assert auroc(np.zeros(3), np.ones(2)) == 1
    assert auroc(np.ones(3), np.ones(2)) == 0.5


def test_auroc_interval_holds_the_figure_and_repeats():
    rng = np.random.default_rng(0)
    clean, poisoned = rng.normal(0, 1, 200), rng.normal(1, 1, 200)
    low, high = auroc_interval(clean, poisoned, rounds=200)
    assert low < auroc(clean, poisoned) < high
    assert high - low < 0.15
    assert (low, high) == auroc_interval(clean, poisoned, rounds=200)


def test_wilson_against_published_values():
    # Newcombe, Statistics in Medicine 17 (1998), table I.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(20, 20)[1] == 1
    with pytest.raises(ValueError, match="successes"):
        wilson(3, 2)


def test_rates_and_accuracy():
    assert rate(np.array([True, False, False, True])) == 0.5
    assert balanced_accuracy(fpr=0.02, bdr=0.9) == pytest.approx(0.94)


def test_bdr_at_fpr_never_flags_more_clean_than_allowed():
    clean = np.arange(100) / 100
    assert bdr_at_fpr(clean, np.array([0.985, 0.975]), 0.01) == 0.5
    assert bdr_at_fpr(clean, np.array([0.995, 0.99]), 0.001) == 0.5
    assert bdr_at_fpr(np.ones(10), np.ones(10), 0.1) == 0


@pytest.mark.parametrize("bad", [np.zeros(0), np.array([0.1, np.nan]), np.zeros((2, 2))])
def test_no_figures_of_nothing(bad):
    with pytest.raises(ValueError, match="at least one finite value"):
        auroc(bad, np.ones(2))
