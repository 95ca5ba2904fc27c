"""What is recommended, beyond whether it is right: how much of the catalogue, how popular, how new, how much wasted.

Lists are `ranked`, int [n, K], best first; a negative entry is an item that does not exist, or padding. Of a user's
top k, each item counts once, where it first stands. A list that is narrower than k ends in empty places.
"""

import numpy as np


def coverage(ranked: np.ndarray, n_items: int, k: int) -> float:
    """Catalogue coverage: the share of all `n_items` that stand in at least one top k (Ge et al., RecSys 2010)."""
    return float(np.count_nonzero(_lists_with(ranked, n_items, k)) / n_items)


def gini(ranked: np.ndarray, n_items: int, k: int) -> float:
    """How unevenly the top k's are spread over the WHOLE catalogue: 0 = all items alike, 1 = always the same one.

    G = sum_j (2j - n - 1) p_j / (n - 1), j = 1..n over items from the least to the most frequent, p_j the item's share
    of all places (Shani and Gunawardana, Evaluating Recommendation Systems, 2011). Since a list holds k distinct items,
    the same list for everyone gives 1 - (k - 1) / (n - 1). 0 where nothing is recommended, or one item is all there is.
    """
    counts = np.sort(_lists_with(ranked, n_items, k))
    if n_items == 1 or counts[-1] == 0:
        return 0.0
    weights = 2.0 * np.arange(1, n_items + 1) - n_items - 1
    return float(weights @ counts / counts.sum() / (n_items - 1))


def popularity(ranked: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """Mean number of purchases in training (`counts`, int [n_items]) of each user's top k: float [n].

    0 for a list without any item, never NaN: in a mean over users such a list weighs like items that nobody bought.
    """
    return _means(ranked, np.asarray(counts, dtype=np.float64), k)


def novelty(ranked: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """Mean self-information of each user's top k, in bits: float [n]; 0 for a list without any item.

    -log2 p(item), after Zhou et al., PNAS 2010, with p = (count + 1) / (total + n_items), the item's share of the
    purchases in training. The + 1 (Laplace) keeps an item that was never bought finite, and the p of all items sum
    to 1. A list drawn evenly from a catalogue bought evenly has log2(n_items).
    """
    counts = np.asarray(counts, dtype=np.float64)
    return _means(ranked, -np.log2((counts + 1) / (counts.sum() + len(counts))), k)


def wasted(ranked: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """The places of each user's top k that can hit nothing, as shares of k: two float arrays [n].

    `invalid@k`: no item that exists stands there. `repeated@k`: an item that already stood before in the same list.
    """
    _, first, again = _places(ranked, k)
    return {f"invalid@{k}": 1 - (first | again).sum(axis=1) / k, f"repeated@{k}": again.sum(axis=1) / k}


def _places(ranked: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The top k [n, min(K, k)], where an item stands for the first time, and where one stands again (bool)."""
    ranked = np.asarray(ranked)
    if ranked.ndim != 2 or k < 1:
        raise ValueError(f"want lists [n, K] and k of at least 1, not {ranked.shape} and {k}")
    top = ranked[:, :k]
    order = np.argsort(top, axis=1, kind="stable")  # equal items side by side, the first one first
    ordered = np.take_along_axis(top, order, axis=1)
    again = np.zeros(top.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return top, (top >= 0) & ~again, (top >= 0) & again


def _lists_with(ranked: np.ndarray, n_items: int, k: int) -> np.ndarray:
    """int [n_items]: how many top k's each item is in."""
    top, first, _ = _places(ranked, k)
    counts = np.bincount(top[first], minlength=n_items)
    if n_items < 1 or len(counts) > n_items:
        raise ValueError(f"a list holds item {len(counts) - 1} of a catalogue of {n_items}")
    return counts


def _means(ranked: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """The mean of `values` [n_items] over each user's top k: float [n]; 0 where there is no item."""
    top, first, _ = _places(ranked, k)
    return np.where(first, values[top], 0.0).sum(axis=1) / np.maximum(first.sum(axis=1), 1)
