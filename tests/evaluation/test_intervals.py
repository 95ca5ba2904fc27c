"""The bootstrap agrees with scipy's, with theory, and does not depend on how it is computed."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.evaluation import intervals
from vip5.evaluation.intervals import bootstrap_interval, estimate, paired_difference, resampled_sums
from vip5.evaluation.ranking import ndcg

RNG = np.random.default_rng(7)
CASES = {
    "hits": (RNG.random(2000) < 0.08).astype(float),
    "ndcg": ndcg(RNG.geometric(0.05, size=2000), 10),
    "continuous": RNG.gamma(2.0, 0.1, size=1000),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_scipy(name):
    values = CASES[name]
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, batch=500, method="percentile", random_state=1
    ).confidence_interval
    assert bootstrap_interval(values, 10_000, seed=3) == pytest.approx((theirs.low, theirs.high), abs=5e-4)


@pytest.mark.parametrize("name", CASES)
def test_width_is_that_of_the_normal_law(name):
    values = CASES[name]
    low, high = bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(len(values)), rel=0.05)


def test_both_ways_to_draw_have_one_distribution():
    """Few distinct rows are drawn as multinomial counts, many as users: same mean, same covariance."""
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 3, size=(400, 2)).astype(float)
    grouped = resampled_sums(rows, 20_000, seed=0)
    jittered = resampled_sums(rows + rng.normal(0, 1e-9, rows.shape), 20_000, seed=0)
    assert grouped.mean(0) == pytest.approx(rows.sum(0), rel=0.002)
    assert jittered.mean(0) == pytest.approx(rows.sum(0), rel=0.002)
    assert np.cov(grouped.T) == pytest.approx(np.cov(jittered.T), rel=0.05, abs=5)


@pytest.mark.parametrize("name", CASES)
def test_drawing_in_chunks_changes_nothing(name, monkeypatch):
    whole = bootstrap_interval(CASES[name], 2000, seed=0)
    monkeypatch.setattr(intervals, "_CHUNK", 10_000)
    assert bootstrap_interval(CASES[name], 2000, seed=0) == pytest.approx(whole, abs=1e-12)


def test_seed_decides():
    assert bootstrap_interval(CASES["ndcg"], seed=1) == bootstrap_interval(CASES["ndcg"], seed=1)
    assert bootstrap_interval(CASES["continuous"], seed=1) != bootstrap_interval(CASES["continuous"], seed=2)


def test_paired_difference_uses_the_pairs():
    """Two systems that go up and down together differ surely, however wide their own intervals are."""
    rng = np.random.default_rng(1)
    a = rng.random(500)
    surely = paired_difference(a + 0.01, a + rng.normal(0, 0.001, 500))
    assert surely.low > 0.009 and surely.high < 0.011 and surely.p < 0.001
    same = paired_difference(a, a)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_paired_difference_p_value_is_that_of_the_normal_law():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.10, 1, 1500), rng.normal(0.0, 1, 1500)
    found = paired_difference(a, b, resamples=20_000)
    assert found.p == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, abs=0.01)
    assert paired_difference(b, a, resamples=20_000).p == pytest.approx(found.p, abs=0.01)
    assert (found.low > 0) == (found.p < 0.05)


def test_no_difference_is_called_in_about_one_case_of_twenty():
    rng = np.random.default_rng(1)
    found = [paired_difference(rng.random(200), rng.random(200), 1000, seed=s).p < 0.05 for s in range(300)]
    assert 0.02 < np.mean(found) < 0.09


def test_what_cannot_be_resampled():
    with pytest.raises(ValueError, match="at least 1"):
        bootstrap_interval(np.array([]))
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="one shape"):
        paired_difference(np.zeros(3), np.zeros(4))


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_interval_lies_within_the_values(values):
    found = estimate(np.array(values), resamples=200)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found.n == len(values)
