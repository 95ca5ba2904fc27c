"""Prompts in groups of like length, so that little padding is computed."""

import numpy as np

SHORTEST = 0.4  # of a group's longest sample: shorter ones go to the next group
_FEWEST = 8  # samples in a group, unless no more are left: tiny groups cost more than their padding saves


def longest_first(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The rows by their lengths, as they stand where these are the same."""
    return rows[np.argsort(-lengths[rows], kind="stable")]


def of_like_length(
    rows: np.ndarray, lengths: np.ndarray, most_tokens: int, shortest: float = SHORTEST
) -> list[np.ndarray]:
    """Rows, the longest first, cut into groups that are padded to their longest: at most `most_tokens` in each.

    Where padding costs little, a group may hold shorter samples: `shortest` is their share of the longest one.
    """
    rows = longest_first(rows, lengths)
    sizes: list[int] = lengths[rows].tolist()  # several times as fast to walk over as an array
    groups, start = [], 0
    for place in range(1, len(rows) + 1):
        longest, count = sizes[start], place - start
        if (
            place == len(rows)
            or (sizes[place] < shortest * longest and count >= _FEWEST)
            or (count + 1) * longest > most_tokens
        ):
            groups.append(rows[start:place])
            start = place
    return groups
