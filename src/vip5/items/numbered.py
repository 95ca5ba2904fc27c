"""Codes that need no vectors: numbers, spelled by the tokenizer's digits, and one new token an item."""

import numpy as np

from vip5.data import Dataset
from vip5.errors import UserError

FIRST_NUMBER = 1001  # as in P5 (Geng et al. 2022)


def paper(dataset: Dataset) -> list[str]:
    """The numbers of the paper's own data (`paper_id`), test items included: leaky, for comparison only."""
    numbers = dataset.items["paper_id"]
    if numbers.null_count():
        raise UserError(
            f"codes 'paper' need a paper_id for every item ({numbers.null_count()} have none in "
            f"{dataset.path / 'items.parquet'}): use codes 'sequential' or 'atomic'"
        )
    return [str(n) for n in numbers]


def sequential(dataset: Dataset) -> list[str]:
    """Consecutive numbers in the order in which items first appear, user by user, as P5 has them (Geng et al. 2022),
    but reading the training part only. Items without a training interaction follow in the order of their raw ids."""
    seen, first = np.unique(dataset.history("train").values, return_index=True)
    rank = np.full(dataset.n_items, np.iinfo(np.int64).max)
    rank[seen] = first
    unseen_last = np.lexsort((dataset.items["item"].to_numpy(), rank))
    numbers = np.empty(dataset.n_items, np.int64)
    numbers[unseen_last] = np.arange(FIRST_NUMBER, FIRST_NUMBER + dataset.n_items)
    return [str(n) for n in numbers]


def random(dataset: Dataset, seed: int) -> list[str]:
    """The numbers of `sequential`, dealt at random: what the spelling itself is worth (Hua et al. 2023, section 3)."""
    numbers = np.random.default_rng([seed, 4]).permutation(dataset.n_items) + FIRST_NUMBER
    return [str(n) for n in numbers]


def atomic(dataset: Dataset) -> list[str]:
    """One new token an item."""
    return [f"<item_{n}>" for n in range(dataset.n_items)]
