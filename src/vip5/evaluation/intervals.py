"""Percentile bootstrap over users (Efron and Tibshirani, 1993, chapters 13 and 16), vectorised.

A resample of n users enters a statistic only through the sums of the users' rows, and users with the same row are
alike. So we draw how often each DISTINCT row comes: for HR@10 that is one binomial number, for NDCG@10 eleven
multinomial ones, however many users there are. It is the exact bootstrap distribution, not an approximation.
"""

from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
_CHUNK = 4_000_000  # weights held at once: 32 MB


class Estimate(NamedTuple):
    """A mean (or corpus score) over n users, with its interval."""

    value: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """A paired difference a - b, its interval, and the two-sided p-value of "no difference"."""

    value: float
    low: float
    high: float
    p: float


def resampled_sums(rows: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """The sums of `rows` [n, m] over `resamples` draws of n rows with replacement: float64 [resamples, m]."""
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"want rows [n, m] with n of at least 1, not {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("a value that is not finite cannot be resampled")
    n = len(rows)
    rng = np.random.default_rng(seed)
    distinct, kind, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    kind = kind.reshape(-1)
    few = 16 * len(distinct) < n  # a multinomial draw costs about 16 draws of one user for each kind
    step = max(1, _CHUNK // (len(distinct) if few else n))
    sums = np.empty((resamples, rows.shape[1]))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        if few:
            weights = rng.multinomial(n, count / n, size=size)
        else:
            drawn = kind[rng.integers(0, n, size=(size, n))] + len(distinct) * np.arange(size)[:, None]
            weights = np.bincount(drawn.ravel(), minlength=size * len(distinct)).reshape(size, -1)
        sums[start : start + size] = weights.astype(np.float64) @ distinct
    return sums


def percentiles(samples: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The bounds between which the middle `level` of the samples lies."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_interval(
    values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of the mean of `values` [n] over users."""
    values = np.asarray(values, dtype=np.float64)
    return percentiles(resampled_sums(values[:, None], resamples, seed)[:, 0] / len(values), level)


def estimate(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL) -> Estimate:
    """The mean of `values` [n] over users, with its interval."""
    return Estimate(float(np.mean(values)), *bootstrap_interval(values, resamples, seed, level), len(values))


def paired_difference(
    a: np.ndarray, b: np.ndarray, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Difference:
    """mean(a) - mean(b) for the SAME n users in the same order, who are resampled together."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired values have one shape [n], not {a.shape} and {b.shape}")
    samples = resampled_sums((a - b)[:, None], resamples, seed)[:, 0] / len(a)
    return difference_of(float(np.mean(a - b)), samples, level)


def difference_of(value: float, samples: np.ndarray, level: float = LEVEL) -> Difference:
    """A difference from its bootstrap samples [resamples].

    p is twice the smaller share of samples on either side of 0, each counted with one sample more (Davison and Hinkley,
    1997, section 4.2): the level at which the percentile interval first reaches 0, never exactly 0.
    """
    below, above = int((samples <= 0).sum()), int((samples >= 0).sum())
    p = min(1.0, 2 * (min(below, above) + 1) / (len(samples) + 1))
    return Difference(value, *percentiles(samples, level), p)
