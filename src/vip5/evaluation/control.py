"""Shuffled targets: a list that knows nothing of the target is at chance, whatever the model; above it, the list knows.

The control replaces each tested user's target by an item drawn uniformly from those it might have been. A model's lists
were made without that draw, so that they hit it as often as chance says, exactly.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from vip5.data import Ragged
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.intervals import Estimate, estimate
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list


class Control(NamedTuple):
    """What lists reach on shuffled targets, and what chance is for full lists."""

    hit_rate: Estimate
    ndcg: Estimate
    chance_hit_rate: float
    chance_ndcg: float
    p: float  # two-sided, of as many hits as there are, at that chance (binomial)


def shuffled_targets(tested: HeldOut, n_items: int, seed: int = 0) -> np.ndarray:
    """int [n]: for each tested user an item of the catalogue, drawn uniformly outside their history."""
    return _outside(tested.histories, n_items, np.random.default_rng([seed, 8]))[0]


def shuffled_choices(lists: np.ndarray, seed: int = 0) -> np.ndarray:
    """int [n]: one item of each list [n, C], drawn uniformly."""
    chosen = np.random.default_rng([seed, 9]).integers(0, lists.shape[1], len(lists))
    return lists[np.arange(len(lists)), chosen]


def control(
    ranked: np.ndarray,
    tested: HeldOut,
    n_items: int | None = None,
    k: int = 10,
    seed: int = 0,
    again: bool = False,
) -> Control:
    """HR@k and NDCG@k of ranked lists [n, K] of the n tested users, whose targets were shuffled.

    n_items: of the catalogue, where next items were ranked, outside the history unless `again`; without it the users'
    candidates were.
    Chance is that of a list of k distinct items; a list that is shorter or shows the history again is below it.
    """
    if n_items is not None:
        known = Ragged.from_lists([[]] * len(tested)) if again else tested.histories
        targets, free = _outside(known, n_items, np.random.default_rng([seed, 8]))
    else:
        targets, free = shuffled_choices(tested.lists, seed), np.full(len(tested), tested.lists.shape[1])
    metrics = ranking_metrics(ranks_in_list(ranked, targets), (k,))
    gains = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(k) + 2.0))])
    shown = np.minimum(free, k)
    chance = float((shown / free).mean())
    hits = int(metrics[f"HR@{k}"].sum())
    return Control(
        estimate(metrics[f"HR@{k}"], seed=seed),
        estimate(metrics[f"NDCG@{k}"], seed=seed),
        chance,
        float((gains[shown] / free).mean()),
        float(binomtest(hits, len(targets), chance).pvalue),
    )


def _outside(histories: Ragged, n_items: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An item outside each history, and how many there are. A history that holds all items counts as none."""
    keys = np.unique(histories.rows * n_items + histories.values)
    own = np.bincount(keys // n_items, minlength=len(histories))
    whole = own == n_items
    keys = keys[~whole[keys // n_items]]
    targets = np.full(len(histories), -1)
    while (missing := np.flatnonzero(targets < 0)).size:
        drawn = rng.integers(0, n_items, len(missing))
        targets[missing] = np.where(np.isin(missing * n_items + drawn, keys), -1, drawn)
    return targets, np.where(whole, n_items, n_items - own)
