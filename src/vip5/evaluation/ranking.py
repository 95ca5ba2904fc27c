"""Ranking metrics of one relevant item a user, as one number a user, so that users can be resampled.

With one relevant item at 0-based rank r, HR@k = [r < k], NDCG@k = [r < k] / log2(r + 2), MRR@k = [r < k] / (r + 1)
(Krichene and Rendle, KDD 2020, section 2). At k = 1 the three are the same number.
"""

from collections.abc import Sequence

import numpy as np

from vip5.data import Ragged

ABSENT = 2**31 - 1  # the rank of an item that is not in the list: beyond every k


def ranks_in_list(ranked: np.ndarray, targets: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
    """0-based place of each target in its list, best first; `ABSENT` where it is not there.

    `ranked` is int [n, K], padded with -1; `targets` is int [n]. An invalid entry (-1) or a repeated item takes up the
    place it stands on and moves nothing up, and a target that is repeated counts where it first stands: a list is never
    better for what it wasted. With `scores` [n, K], what scores as high as the target stands before it: ties are broken
    against the model, and a target that scores NaN is last.
    """
    ranked, targets = np.asarray(ranked), np.asarray(targets)
    if ranked.ndim != 2 or targets.shape != ranked.shape[:1]:
        raise ValueError(f"want lists [n, K] and targets [n], not {ranked.shape} and {targets.shape}")
    if (targets < 0).any():
        raise ValueError("a target is an item: it cannot be negative")
    found = ranked == targets[:, None]
    if ranked.shape[1] == 0:
        return np.full(len(targets), ABSENT, dtype=np.int64)
    place = found.argmax(axis=1)
    if scores is not None:
        own = np.take_along_axis(np.asarray(scores), place[:, None], axis=1)
        place = np.maximum(place, (~(scores < own)).sum(axis=1) - 1)  # NaN is not better than anything
    return np.where(found.any(axis=1), place, ABSENT)


def ranks_from_scores(scores: np.ndarray, targets: np.ndarray, excluded: Ragged | None = None) -> np.ndarray:
    """0-based rank of column `targets` [n] in each row of `scores` [n, C], ties broken against the model.

    The rank is the number of other columns that do not score below the target, so a model that scores everything alike
    (or NaN) is last, not first. The columns that `excluded` has in the row (a user's history) do not count; the target
    keeps its own score and place even if it is among them.
    """
    scores, targets = np.asarray(scores), np.asarray(targets)
    own = np.take_along_axis(scores, targets[:, None], axis=1)
    rows = np.arange(len(targets))
    not_below = ~(scores < own)
    not_below[rows, targets] = False
    if excluded is not None:
        if len(excluded) != len(targets):
            raise ValueError(f"want excluded columns for each of {len(targets)} rows, not for {len(excluded)}")
        not_below[excluded.rows, excluded.values] = False
    return not_below.sum(axis=1)


def hit_rate(ranks: np.ndarray, k: int) -> np.ndarray:
    """HR@k of each user, float [n]."""
    return (ranks < k).astype(np.float64)


def ndcg(ranks: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k of each user, float [n]."""
    return np.where(ranks < k, 1.0 / np.log2(ranks + 2.0), 0.0)


def mrr(ranks: np.ndarray, k: int) -> np.ndarray:
    """MRR@k of each user, float [n]."""
    return np.where(ranks < k, 1.0 / (ranks + 1.0), 0.0)


def ranking_metrics(ranks: np.ndarray, ks: Sequence[int] = (5, 10)) -> dict[str, np.ndarray]:
    """`HR@k`, `NDCG@k` and `MRR@k` for every k of `ks`, each a float array [n] over users."""
    ranks = np.asarray(ranks)
    if any(k < 1 for k in ks) or (ranks < 0).any():
        raise ValueError("ranks start at 0 and k at 1")
    families = (("HR", hit_rate), ("NDCG", ndcg), ("MRR", mrr))
    return {f"{name}@{k}": metric(ranks, k) for k in ks for name, metric in families}
