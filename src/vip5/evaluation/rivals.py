"""The baselines that stand beside every evaluation, for they need no training: item-kNN, and the rules."""

from collections.abc import Sequence

import numpy as np

from vip5.baselines.base import Ranker
from vip5.baselines.item_knn import ItemKNN
from vip5.baselines.rules import Rules
from vip5.data import Dataset
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.scores import Ranked
from vip5.modalities import store_names


def fit_rivals(dataset: Dataset) -> list[Ranker]:
    """item-kNN, and the rules with all vectors of the data set."""
    return [ItemKNN.fit(dataset, seed=0), Rules.fit(dataset, seed=0, vectors=store_names(dataset))]


def ranked_by(rival: Ranker, held: HeldOut, lists: Sequence[np.ndarray] | None, k: int, again: bool) -> Ranked:
    """What a baseline ranks: k next items, or each of several lists of candidates, int [n, C]."""
    if lists is None:
        ranked = [rival.rank(held.histories, k, held.users, exclude=None if again else held.histories)]
    else:
        ranked = [rival.rank_candidates(shown, held.histories, held.users) for shown in lists]
    return Ranked.of_lists(ranked, held.targets)
