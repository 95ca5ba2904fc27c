"""k-means: what code schemes build clusters with.

It is made of sums over blocks of rows, so a million items need no more memory than their own vectors.
"""

import numpy as np
import torch
from scipy.sparse import csr_array

_ROWS = 16_384  # compared with all centres at once
_SAMPLE = 256  # rows a centre is fitted on, at most, as usual for product quantisers (Douze et al. 2024)


def kmeans(x: np.ndarray, k: int, rng: np.random.Generator, iterations: int = 25) -> np.ndarray:
    """Centres float32 [at most k, d] of the rows of `x` [n, d]: k-means++ start, then Lloyd's steps.

    A centre that loses all its rows moves to the row that is farthest from its own; so there are k, unless `x` has
    fewer distinct rows.
    """
    if len(x) > _SAMPLE * k:
        x = x[np.sort(rng.choice(len(x), _SAMPLE * k, replace=False))]
    x = x.astype(np.float32)
    distinct = np.unique(x, axis=0)
    if len(distinct) <= k:
        return distinct
    centres = _spread_out(x, k, rng)
    for _ in range(iterations):
        owner, distance = nearest(x, centres)
        counts = np.bincount(owner, minlength=k)
        members = csr_array((np.ones(len(x)), (owner, np.arange(len(x)))), shape=(k, len(x)))
        sums = members @ x
        empty = np.flatnonzero(counts == 0)
        moved = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        moved[empty] = x[np.argsort(-distance)[: len(empty)]]
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def nearest(x: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centre nearest to each row of `x` [n, d], int64 [n], and its squared distance, float32 [n]."""
    table = torch.from_numpy(np.ascontiguousarray(centres, np.float32))
    squares = table.square().sum(1)
    owners, distances = [], []
    for start in range(0, len(x), _ROWS):
        rows = torch.from_numpy(np.ascontiguousarray(x[start : start + _ROWS], np.float32))
        least, owner = torch.addmm(squares, rows, table.T, alpha=-2).min(1)
        owners.append(owner.numpy())
        distances.append((least + rows.square().sum(1)).clamp_(min=0).numpy())
    return np.concatenate(owners), np.concatenate(distances)


def _spread_out(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k rows, each drawn in proportion to its squared distance from those before (Arthur and Vassilvitskii 2007)."""
    centres = x[rng.integers(len(x))][None]
    squares = np.square(x).sum(1)
    distance = np.full(len(x), np.inf, np.float32)
    while len(centres) < k:
        last = centres[-1]
        distance = np.minimum(distance, np.maximum(squares - 2 * (x @ last) + last @ last, 0))
        total = np.cumsum(distance, dtype=np.float64)
        centres = np.vstack([centres, x[min(int(np.searchsorted(total, rng.random() * total[-1])), len(x) - 1)]])
    return centres
