"""Policies: what they remove, what they promise, and what they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from sanitizer.policy import ROUNDING, Budget, Decision, FalseDiscovery, Policy

#: Few different values, so that ties are frequent, as with conformal p-values.
p_lists = st.lists(st.integers(1, 200).map(lambda i: i / 200), min_size=1, max_size=60)
rates = st.sampled_from([0.01, 0.05, 0.2, 0.5, 0.9])
policies = st.one_of(
    st.sampled_from([0.005, 0.01, 0.1, 0.5]).map(Budget), rates.map(FalseDiscovery)
)


def benjamini_hochberg(p_values: list[float], fdr: float) -> list[bool]:
    """The procedure as its authors describe it."""
    ordered = sorted(p_values)
    limit = 0.0
    for k, p in enumerate(ordered, start=1):
        if p <= fdr * k / len(ordered) + 1e-12:
            limit = p
    return [p <= limit for p in p_values]


@given(p_lists, rates)
def test_false_discovery_control_is_the_procedure_of_benjamini_and_hochberg(
    p_values: list[float], fdr: float
) -> None:
    budget = 0.5
    decision = FalseDiscovery(fdr, budget).fit(np.array(p_values))
    removed = [
        rejected and p <= budget
        for p, rejected in zip(p_values, benjamini_hochberg(p_values, fdr), strict=True)
    ]
    assert decision.poisoned(np.array(p_values)).tolist() == removed
    assert decision.limit == max(
        (p for p, out in zip(p_values, removed, strict=True) if out), default=0
    )


@pytest.mark.parametrize("n", [1, 7, 100, 20_000])
@pytest.mark.parametrize("fdr", [0.01, 0.05, 0.3])
def test_false_discovery_control_is_that_of_scipy_to_the_last_bit(n: int, fdr: float) -> None:
    rng = np.random.default_rng(n)
    for p_values in (rng.uniform(1e-9, 1, n), np.ceil(rng.beta(0.2, 2, n) * 999 + 1e-9) / 1000):
        rejected = false_discovery_control(p_values) <= fdr + ROUNDING
        limit = p_values[rejected & (p_values <= 0.1 + ROUNDING)].max(initial=0.0)
        assert FalseDiscovery(fdr, 0.1).fit(p_values).limit == limit


@given(p_lists, st.sampled_from([0.005, 0.01, 0.1, 0.5]))
def test_a_budget_removes_what_few_clean_images_are_like(
    p_values: list[float], loss: float
) -> None:
    decision = Budget(loss).fit(np.array(p_values))
    assert decision.poisoned(np.array(p_values)).tolist() == [p <= loss for p in p_values]
    assert decision.limit == loss


@given(p_lists, policies, st.randoms())
def test_the_order_of_the_images_does_not_matter(p_values, policy: Policy, random) -> None:
    decision = policy.fit(np.array(p_values))
    random.shuffle(p_values)
    assert policy.fit(np.array(p_values)) == decision


@given(p_lists, policies)
def test_a_decision_counts_what_it_removes_and_survives_json(p_values, policy: Policy) -> None:
    decision = policy.fit(np.array(p_values))
    assert decision.judged == len(p_values)
    assert decision.removed == decision.poisoned(np.array(p_values)).sum()
    assert decision.expected_innocents == min(decision.removed, decision.limit * len(p_values))
    assert Decision.from_json(decision.to_json()) == decision
    assert "\n" not in decision.words


@given(p_lists, rates)
def test_few_innocents_are_expected_among_the_removed(p_values: list[float], fdr: float) -> None:
    decision = FalseDiscovery(fdr).fit(np.array(p_values))
    assert decision.expected_innocents <= fdr * decision.removed + 1e-9


@given(p_lists, st.lists(st.floats(0.001, 0.999), min_size=2, max_size=2))
def test_a_larger_false_discovery_rate_removes_no_fewer(p_values, bounds) -> None:
    low, high = sorted(bounds)
    values = np.array(p_values)
    few, many = (FalseDiscovery(fdr).fit(values).poisoned(values) for fdr in (low, high))
    assert not (few & ~many).any()


def test_the_false_discovery_proportion_is_on_average_at_most_the_rate() -> None:
    """Innocent images and calibration images are alike; the others score higher."""
    rng = np.random.default_rng(0)
    proportions = []
    for _ in range(300):
        clean = np.sort(rng.normal(size=500))
        scores = np.concatenate([rng.normal(size=400), rng.normal(3.5, 1, size=100)])
        p_values = (1 + 500 - np.searchsorted(clean, scores)) / 501
        decision = FalseDiscovery(0.1).fit(p_values)
        poisoned = decision.poisoned(p_values)
        proportions.append(poisoned[:400].sum() / max(1, poisoned.sum()))
    assert 0.04 < np.mean(proportions) <= 0.1


def test_a_budget_loses_at_most_its_share_of_innocent_images() -> None:
    rng = np.random.default_rng(0)
    lost = []
    for _ in range(300):
        clean = np.sort(rng.normal(size=200))
        p_values = (1 + 200 - np.searchsorted(clean, rng.normal(size=400))) / 201
        decision = Budget(0.05).fit(p_values)
        lost.append(decision.removed / 400)
        assert decision.expected_innocents <= 0.05 * 400
    assert 0.03 < np.mean(lost) <= 0.05 + 3 * np.std(lost) / math.sqrt(300)


@pytest.mark.parametrize("policy", [Budget(), FalseDiscovery()])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 0, 1.1])
def test_what_is_no_p_value_never_passes_for_clean(policy: Policy, bad: float) -> None:
    with pytest.raises(ValueError, match="expected p-values above 0"):
        policy.fit(np.array([0.5, bad]))
    with pytest.raises(ValueError, match="expected p-values above 0"):
        policy.fit(np.array([0.5])).poisoned(np.array([bad]))


@pytest.mark.parametrize("loss", [0, 0.6, 1, -0.5, float("nan")])
def test_a_clean_loss_out_of_range_is_refused(loss: float) -> None:
    with pytest.raises(ValueError, match=r"max clean loss: expected above 0, at most 0.5"):
        Budget(loss)


@pytest.mark.parametrize("fdr", [0, 1, -0.5, float("nan")])
def test_a_false_discovery_rate_out_of_range_is_refused(fdr: float) -> None:
    with pytest.raises(ValueError, match=r"false discovery rate: expected above 0, below 1"):
        FalseDiscovery(fdr)


@pytest.mark.parametrize("policy", [Budget(), FalseDiscovery()])
def test_of_no_images_none_is_removed(policy: Policy) -> None:
    decision = policy.fit(np.zeros(0))
    assert decision.removed == decision.expected_innocents == 0
    assert decision.poisoned(np.zeros(0)).shape == (0,)


def test_a_decision_says_what_was_done() -> None:
    p_values = np.array([0.001] * 20 + [0.5] * 980)
    assert Budget(0.01).fit(p_values).words == (
        "Of 1,000 judged images 20 are removed for their score, those with a p-value "
        "of at most 0.01 (the share of clean images that score as high). "
        "Where the calibration fits the set, up to 10 of them are expected to be innocent."
    )
    assert FalseDiscovery(0.05).fit(p_values).words == (
        "Of 1,000 judged images 20 are removed for their score, those with a p-value "
        "of at most 0.001 (the share of clean images that score as high). "
        "Where the calibration fits the set, 5% or less of the removed images are expected to "
        "be innocent, here up to 1."
    )
    assert Budget(0.01).fit(p_values[20:]).words == (
        "Of 980 judged images none is removed for its score: none has a p-value of at most 0.01 "
        "(the share of clean images that score as high)."
    )
    assert FalseDiscovery(0.05).fit(p_values[20:], smallest=0.001).words == (
        "Of 980 judged images none is removed for its score: no image is suspicious enough "
        "for 5% or less of the removed images to be innocent."
    )


def test_what_is_said_of_one_image_and_of_none_is_true() -> None:
    assert (
        Budget()
        .fit(np.array([0.5]))
        .words.startswith("Of 1 judged image none is removed for its score")
    )
    for policy in (Budget(), FalseDiscovery()):
        assert policy.fit(np.zeros(0)).words == "No image has a score, so none is removed for one."


def test_a_calibration_that_is_too_coarse_is_told_with_the_images_needed() -> None:
    smallest = 1 / 1000
    p_values = np.array([smallest] * 12 + [0.5] * 9988)
    decision = FalseDiscovery(0.05).fit(p_values, smallest)
    assert decision.removed == 0
    assert "12 are more suspicious than every clean calibration image" in decision.words
    assert "at least 16,666 clean images" in decision.words
    assert decision.words.endswith("give more by --trusted, or choose --policy budget.")
    one = FalseDiscovery(0.05).fit(np.array([smallest] + [0.5] * 9999), smallest)
    assert ": 1 is more suspicious than every clean calibration image" in one.words
    finer = np.array([1 / 16_667] * 12 + [0.5] * 9988)
    assert FalseDiscovery(0.05).fit(finer).removed == 12
