"""The negatives that stand beside the test target where one item of a hundred is to be picked."""

import hashlib

import numpy as np

from vip5.data.ragged import Ragged

NEGATIVES = 99
_PATIENCE = 64  # draws an item there is to draw, until what a row still lacks is drawn by keys
_CELLS = 2**22  # keys at once


def draw_negatives(
    sequences: Ragged, weights: np.ndarray, seed: int, width: int = NEGATIVES, number: int = 0
) -> np.ndarray:
    """int32 [n_users, width]: distinct items that are not in the user's own sequence, list `number` of `seed`.

    weights: int [n_items]. Items are drawn one after the other without replacement, each with probability
    proportional to its weight among what is left; equal weights draw uniformly, weight 0 is never drawn. Where some
    user leaves fewer than `width` items to draw, all rows are that much shorter. Rejection sampling, every user at
    once: a draw is kept when it is neither the user's own nor drawn before.
    """
    n_users, n_items = len(sequences), len(weights)
    own = np.unique(sequences.rows * n_items + sequences.values)
    able = weights > 0
    n_able = int(able.sum())
    taken = np.bincount(own[able[own % n_items]] // n_items, minlength=n_users)
    width = min(width, n_able - int(taken.max(initial=0)))
    cumulative = np.cumsum(weights)
    rng = np.random.default_rng([seed, 2, number])  # as [seed, 2] for list 0: NumPy pads seeds with zeros
    result = np.empty((n_users, width), dtype=np.int32)
    pending = np.arange(n_users if width else 0)
    kept = np.empty(0, dtype=np.int64)  # user * n_items + item, in the order drawn, of pending users
    tries, tried = width + width // 4 + 1, 0
    while len(pending) and tried < _PATIENCE * n_able:
        drawn = rng.integers(cumulative[-1], size=(len(pending), tries))
        draws = (pending[:, None] * n_items + np.searchsorted(cumulative, drawn, side="right")).ravel()
        draws = draws[own[np.minimum(np.searchsorted(own, draws), len(own) - 1)] != draws]
        kept = np.concatenate([kept, draws])
        kept = kept[np.sort(np.unique(kept, return_index=True)[1])]
        kept = kept[np.argsort(kept // n_items, kind="stable")]
        users = kept // n_items
        counts = np.bincount(users, minlength=n_users)
        full = np.flatnonzero(counts >= width)
        starts = np.concatenate([[0], np.cumsum(counts)])[full]
        result[full] = kept[starts[:, None] + np.arange(width)] % n_items
        kept = kept[counts[users] < width]
        pending = pending[counts[pending] < width]
        tried += tries
        tries = min(2 * tries, 4 * n_able)
    at_once = max(1, _CELLS // n_items)
    for start in range(0, len(pending), at_once):
        users = pending[start : start + at_once]
        result[users] = _by_keys(rng, users, kept, own, weights, width)
    return result


def _by_keys(
    rng: np.random.Generator, users: np.ndarray, kept: np.ndarray, own: np.ndarray, weights: np.ndarray, width: int
) -> np.ndarray:
    """int [n, width]: the users' rows, what is kept of them first, completed in the order of exponential keys.

    The smallest of keys E / weight is each item's with probability proportional to its weight (P. Efraimidis,
    P. Spirakis: Weighted random sampling with a reservoir, IPL 2006), however rare what is left to draw may be.
    """
    n_items = len(weights)
    with np.errstate(divide="ignore"):
        keys = rng.exponential(size=(len(users), n_items)) / weights

    def cells(of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        of = of[np.isin(of // n_items, users)]
        return np.searchsorted(users, of // n_items), of % n_items

    keys[cells(own)] = np.inf
    row, item = cells(kept)
    place = np.arange(len(row)) - np.searchsorted(row, row)  # within the row, in the order drawn
    keys[row, item] = place - n_items  # before all others
    return np.argsort(keys, axis=1)[:, :width]


def hash_of_lists(candidates: np.ndarray) -> str:
    """sha256 (hex) of candidates [n_lists, n_users, width]."""
    shape = "x".join(str(n) for n in candidates.shape)
    return hashlib.sha256(f"{shape}\n".encode() + candidates.astype("<i4").tobytes()).hexdigest()
