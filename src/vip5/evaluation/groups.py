"""Users in groups, to see for whom a model works: by how much is known of them, and by how well known their target is.

The bounds are fixed, so that groups of several data sets and models are the same groups. A group without users is left
out; every user is in exactly one.
"""

from collections.abc import Sequence

import numpy as np

# The first value of each group. In a 5-core of leave-one-out the shortest history of a test user has 4 items, a third
# of the users; half have 5 to 9.
HISTORY = (0, 1, 5, 10, 20)
POPULARITY = (0, 1, 5, 20, 100)


def history_groups(lengths: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Users by the length of their history, int [n]: ("history 5-9", bool [n]) and so on, the shortest first."""
    return _groups(lengths, HISTORY, "history {}")


def popularity_groups(counts_of_targets: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Users by how often their target was bought in training, int [n]: ("bought 5-19 times", bool [n]) and so on."""
    return _groups(counts_of_targets, POPULARITY, "bought {} times")


def _groups(values: np.ndarray, starts: Sequence[int], name: str) -> list[tuple[str, np.ndarray]]:
    values = np.asarray(values)
    if (values < 0).any():
        raise ValueError("a length or a count cannot be negative")
    group = np.searchsorted(starts, values, side="right") - 1
    lasts = [start - 1 for start in starts[1:]]
    spans = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, lasts, strict=False)] + [f"{starts[-1]}+"]
    return [(name.format(span), group == number) for number, span in enumerate(spans) if (group == number).any()]
