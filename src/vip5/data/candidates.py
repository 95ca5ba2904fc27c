"""The negatives that stand beside the test target where one item of a hundred is to be picked."""

import numpy as np

from vip5.data.ragged import Ragged

NEGATIVES = 99


def draw_negatives(sequences: Ragged, n_items: int, seed: int, width: int = NEGATIVES) -> np.ndarray:
    """int32 [n_users, width]: distinct items, uniform among those that are not in the user's own sequence.

    Where some user leaves fewer than `width` items of the catalogue, all rows are that much shorter. Rejection
    sampling, every user at once: a draw is kept when it is neither the user's own nor drawn before, so each row is a
    uniform sample without replacement, in random order.
    """
    n_users = len(sequences)
    own = np.unique(sequences.rows * n_items + sequences.values)
    width = min(width, n_items - int(np.bincount(own // n_items, minlength=n_users).max(initial=0)))
    rng = np.random.default_rng([seed, 2])
    result = np.empty((n_users, width), dtype=np.int32)
    pending = np.arange(n_users if width else 0)
    kept = np.empty(0, dtype=np.int64)  # user * n_items + item, in the order drawn, of pending users
    tries = width + width // 4 + 1
    while len(pending):
        draws = (pending[:, None] * n_items + rng.integers(n_items, size=(len(pending), tries))).ravel()
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
        tries = min(2 * tries, 4 * n_items)
    return result
