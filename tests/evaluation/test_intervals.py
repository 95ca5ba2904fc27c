"""The bootstrap agrees with scipy's, with theory, and does not depend on how it is computed."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.evaluation import intervals
from vip5.evaluation.intervals import (
    bootstrap_interval,
    difference_of,
    estimate,
    holm,
    paired_difference,
    resampled_sums,
    two_level_samples,
)
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


def means(sums: np.ndarray, n: int = 400) -> np.ndarray:
    return sums / n


@pytest.mark.parametrize("name", CASES)
def test_one_seed_each_is_the_paired_bootstrap(name):
    """Against scipy's and against `paired_difference`."""
    a = CASES[name]
    b = np.random.default_rng(5).permutation(a) * 0.5 + a * 0.4
    rows = np.column_stack([a, b])[:, :, None]
    samples = two_level_samples(rows, [1, 1], lambda sums: means(sums, len(a)), seed=3)
    assert samples.shape == (10_000, 2, 1)
    found = difference_of(float(np.mean(a - b)), samples[:, 0, 0] - samples[:, 1, 0])
    theirs = scipy.stats.bootstrap(
        (a, b), lambda x, y, axis: (x - y).mean(axis), n_resamples=10_000, batch=500, method="percentile", paired=True,
        random_state=1,
    ).confidence_interval  # fmt: skip
    ours = paired_difference(a, b, seed=4)
    spread = np.std(a - b) / math.sqrt(len(a))
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=5e-4)
    assert found[:3] == pytest.approx(ours[:3], abs=0.1 * spread) and found.p == pytest.approx(ours.p, abs=0.02)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.05)


@pytest.mark.parametrize("seeds", [(1, 1), (2, 3), (5, 1)])
def test_seeds_add_what_they_vary_by(seeds):
    """The variance over resamples, worked out: of users / n, of seeds / S, and of the rest / (n S), of each system.

    What both systems owe to a user cancels in their difference.
    """
    rng = np.random.default_rng(1)
    n, runs = 400, sum(seeds)
    x = rng.normal(0, 2, (n, 1)) + rng.normal(0, 0.1, (1, runs)) + rng.normal(0, 1, (n, runs))
    samples = two_level_samples(x[:, :, None], seeds, means, 20_000, seed=0)[:, :, 0]
    parts = np.split(x, [seeds[0]], axis=1)
    by_user = np.column_stack([part.mean(1) for part in parts])
    within = [
        part.mean(0).var() / S + (part - part.mean(0) - part.mean(1, keepdims=True) + part.mean()).var() / (n * S)
        for part, S in zip(parts, seeds, strict=True)
    ]
    assert samples.mean(0) == pytest.approx(by_user.mean(0), abs=0.01)
    assert samples.var(0) == pytest.approx(by_user.var(0) / n + within, rel=0.05)
    difference = (samples[:, 0] - samples[:, 1]).var()
    assert difference == pytest.approx((by_user[:, 0] - by_user[:, 1]).var() / n + sum(within), rel=0.05)


def test_two_levels_drawn_one_by_one():
    """Against loops that draw users and runs by their indices."""
    rng = np.random.default_rng(1)
    x = rng.gamma(1.0, 1.0, (60, 5)) + np.array([0.0, 0.3, 0.6, 0.1, 0.9])
    drawn = []
    for _ in range(10_000):
        users = x[rng.integers(0, 60, 60)]
        drawn.append(users[:, rng.integers(0, 2, 2)].mean() - users[:, 2 + rng.integers(0, 3, 3)].mean())
    samples = two_level_samples(x[:, :, None], (2, 3), lambda sums: means(sums, 60), seed=2)[:, :, 0]
    quantiles = [0.025, 0.25, 0.5, 0.75, 0.975]
    ours, theirs = np.quantile(samples[:, 0] - samples[:, 1], quantiles), np.quantile(drawn, quantiles)
    assert ours == pytest.approx(theirs, abs=0.03)


def test_runs_must_belong_to_systems():
    for seeds in ((1, 1), (3, 0), (2, 2)):
        with pytest.raises(ValueError, match="3 runs"):
            two_level_samples(np.zeros((4, 3, 1)), seeds, means)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3·.01; 2·.03; 1·.04, but not below .06
    assert holm([0.3, 0.004, 0.5, 0.02]) == pytest.approx([0.6, 0.016, 0.6, 0.06])
    assert holm([0.02]) == [0.02] and holm([]) == [] and holm([1.0, 0.6]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0.001, 0.999))
def test_holm_rejects_what_its_steps_reject(p, level):
    """The method as first written: from the smallest, reject while p ≤ level / (m - i), then stop."""
    rejected = set()
    for i, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        if p[place] * (len(p) - i) > level:
            break
        rejected.add(place)
    assert {place for place, corrected in enumerate(holm(p)) if corrected <= level} == rejected
