"""From ranked lists to results: how right they are, what they recommend, for whom, and whether chance stays chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vip5.evaluation import beyond
from vip5.evaluation.control import control
from vip5.evaluation.groups import history_groups, popularity_groups
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.intervals import Estimate, estimate, paired_difference
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list
from vip5.evaluation.results import NEXT_ITEM, Result
from vip5.predict.lists import Ranking

POPULARITY, CHANCE = "popularity", "chance"


@dataclass(frozen=True)
class Ranked:
    """What one system ranked for n users: over the whole catalogue, or each of several candidate lists."""

    lists: list[np.ndarray]  # int [n, K] each, best first, -1 where there is no item
    ranks: np.ndarray  # int [n, lists], 0-based places of the targets
    depth: int  # how many places were looked at

    @classmethod
    def of(cls, found: Sequence[Ranking], targets: np.ndarray) -> "Ranked":
        """By where the targets [n] stand in the lists, behind what has the same score where scores are known."""
        ranks = [ranks_in_list(ranking.items, targets, ranking.scores) for ranking in found]
        lists = [ranking.items for ranking in found]
        return cls(lists, np.stack(ranks, axis=1), lists[0].shape[1])

    @classmethod
    def of_lists(cls, lists: Sequence[np.ndarray], targets: np.ndarray) -> "Ranked":
        """By where the targets [n] stand in lists int [n, K]."""
        return cls.of([Ranking(ranked, None) for ranked in lists], targets)

    def accuracy(self, cutoffs: Sequence[int]) -> dict[str, np.ndarray]:
        """HR, NDCG and MRR of each user, float [n]: the mean over the lists."""
        return {name: values.mean(axis=1) for name, values in ranking_metrics(self.ranks, cutoffs).items()}


def beside(
    ours: Ranked, theirs: Ranked, baseline: str, about: dict[str, Any], cutoffs: Sequence[int], seed: int
) -> list[Result]:
    """A system's accuracy, that of a baseline on the same users, and the paired difference."""
    found, other = ours.accuracy(cutoffs), theirs.accuracy(cutoffs)
    return [
        Result.of(
            estimate(values, seed=seed),
            estimate(other[metric], seed=seed),
            paired_difference(values, other[metric], seed=seed),
            **about,
            metric=metric,
            baseline=baseline,
        )
        for metric, values in found.items()
    ]


def ranking_results(
    found: Ranked,
    baseline: Ranked,
    held: HeldOut,
    counts: np.ndarray,
    about: dict[str, Any],
    cutoffs: Sequence[int],
    seed: int,
    again: bool = False,
) -> list[Result]:
    """Every number of a system on one prompt, beside those of popularity on the same users.

    `counts` are the purchases of each item in training, `about` is what the results have in common. The lists
    themselves are looked at (coverage and so on) for next items, and shuffled targets are scored in the first list. All
    at the largest k, but for accuracy. `again`: lists may hold what the user had before.
    """
    k, ours, theirs = max(cutoffs), found.accuracy(cutoffs), baseline.accuracy(cutoffs)
    results = beside(found, baseline, POPULARITY, about, cutoffs, seed)
    if about["task"] == NEXT_ITEM:
        own, other = (_recommended(system.lists[0], counts, k, seed) for system in (found, baseline))
        results += [
            Result.of(own[metric], other[metric], **about, metric=metric, baseline=POPULARITY) for metric in own
        ]
    groups = [*history_groups(held.histories.lengths), *popularity_groups(counts[held.targets])]
    for group, inside in groups:
        for metric in (f"HR@{k}", f"NDCG@{k}"):
            own_part, other_part = (estimate(system[metric][inside], seed=seed) for system in (ours, theirs))
            results.append(Result.of(own_part, other_part, **about, metric=metric, baseline=POPULARITY, group=group))
    return results + _control(found, held, len(counts), about, k, seed, again)


def wasted_results(found: Ranked, about: dict[str, Any], k: int, seed: int) -> list[Result]:
    """The shares of places that hold no item, or one again: of what is written freely."""
    parts = [beyond.wasted(ranked, k) for ranked in found.lists]
    means = {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}
    return [Result.of(estimate(values, seed=seed), **about, metric=name) for name, values in means.items()]


def _recommended(ranked: np.ndarray, counts: np.ndarray, k: int, seed: int) -> dict[str, Estimate]:
    nan, n_items = float("nan"), len(counts)
    return {
        f"coverage@{k}": Estimate(beyond.coverage(ranked, n_items, k), nan, nan, len(ranked)),
        f"Gini@{k}": Estimate(beyond.gini(ranked, n_items, k), nan, nan, len(ranked)),
        f"popularity@{k}": estimate(beyond.popularity(ranked, counts, k), seed=seed),
        f"novelty@{k}": estimate(beyond.novelty(ranked, counts, k), seed=seed),
    }


def _control(
    found: Ranked, held: HeldOut, n_items: int, about: dict[str, Any], k: int, seed: int, again: bool
) -> list[Result]:
    """The same lists against targets drawn at random: above chance, lists or metrics would know what they must not."""
    shuffled = control(found.lists[0], held, n_items if about["task"] == NEXT_ITEM else None, k, seed, again)
    about = about | {"model": f"{about['model']}, shuffled targets", "kind": "control", "baseline": CHANCE}
    nan = float("nan")
    return [
        Result.of(own, Estimate(chance, nan, nan, own.n), **about, metric=metric)
        for metric, own, chance in (
            (f"HR@{k}", shuffled.hit_rate, shuffled.chance_hit_rate),
            (f"NDCG@{k}", shuffled.ndcg, shuffled.chance_ndcg),
        )
    ]
