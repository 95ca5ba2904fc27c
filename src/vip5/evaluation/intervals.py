"""Percentile bootstrap over users (Efron and Tibshirani, 1993, chapters 13 and 16), vectorised.

A resample of n users enters a statistic only through the sums of the users' rows, and users with the same row are
alike. So we draw how often each DISTINCT row comes: for HR@10 that is one binomial number, for NDCG@10 eleven
multinomial ones, however many users there are. It is the exact bootstrap distribution, not an approximation.
"""

from collections.abc import Callable, Sequence
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


def two_level_samples(
    rows: np.ndarray,
    seeds: Sequence[int],
    score: Callable[[np.ndarray], np.ndarray],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Bootstrap samples of systems that were trained several times: float64 [resamples, systems, metrics].

    `rows` [n, runs, m] is what each user contributes to each run, and `score` makes metrics [..., runs, metrics] of
    their sums [..., runs, m]. The first `seeds[0]` runs are the first system's, the next `seeds[1]` the second's, and
    so on. In each resample all runs keep the SAME n users drawn with replacement, and a system of S runs is the mean
    over S of them drawn with replacement. With one run each this is the paired bootstrap over users.

    Users and runs are crossed, so this is the pigeonhole bootstrap (Owen, Annals of Applied Statistics 1, 2007). Its
    limits: what is peculiar to a run as a whole is understated by the factor (S - 1) / S in variance, which matters for
    the usual three to five seeds; what is peculiar to a user in one run is counted up to three times; and one run says
    nothing of how another training of the same system would end.
    """
    n, runs, width = rows.shape
    if sum(seeds) != runs or min(seeds) < 1:
        raise ValueError(f"{runs} runs cannot be those of systems with {list(seeds)} runs")
    scores = score(resampled_sums(rows.reshape(n, runs * width), resamples, seed).reshape(resamples, runs, width))
    rng = np.random.default_rng([seed, 1])  # another stream than that of the users
    samples = []
    for first, count in zip(np.cumsum([0, *seeds]), seeds, strict=False):
        drawn = rng.multinomial(count, [1 / count] * count, size=resamples)
        samples.append(np.einsum("br,brm->bm", drawn / count, scores[:, first : first + count]))
    return np.stack(samples, axis=1)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down method (Scandinavian Journal of Statistics 6, 1979).

    Calling those below a level keeps the chance of even one false call at that level, however the tests depend on each
    other: the i-th smallest of m, counted from 0, is multiplied by m - i, and none becomes smaller than one before it.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return corrected.tolist()
