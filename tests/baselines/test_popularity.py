"""Popularity: counts of the training part only, ties for nobody, and the published numbers on Beauty."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.baselines.base import BaselineSettings, Ranker
from vip5.baselines.popularity import Popularity
from vip5.data import Ragged
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list


@dataclass
class Shop:
    """What the baseline needs of a data set."""

    sequences: list[list[int]]
    n_items: int

    @property
    def n_users(self) -> int:
        return len(self.sequences)

    def history(self, split: str) -> Ragged:
        held_out = {"train": 2, "validation": 2, "test": 1}[split]
        return Ragged.from_lists([row[:-held_out] for row in self.sequences])

    def targets(self, split: str) -> np.ndarray:
        return np.array([row[-1 if split == "test" else -2] for row in self.sequences])


def test_only_the_training_part_counts():
    shop = Shop([[0, 1, 4, 3], [1, 2, 4, 3], [1, 0, 4, 3]], n_items=6)
    popularity = Popularity.fit(shop)
    assert popularity.counts.tolist() == [2, 3, 1, 0, 0, 0]
    assert popularity.order[:3].tolist() == [1, 0, 2]


def test_what_is_excluded_is_left_out_and_short_lists_are_padded():
    popularity = Popularity(np.array([5, 4, 3, 2]))
    histories = Ragged.from_lists([[], [0, 0, 2], [0, 1, 2, 3], [3]])
    ranked = popularity.rank(histories, k=3, exclude=histories)
    assert ranked.tolist() == [[0, 1, 2], [1, 3, -1], [-1, -1, -1], [0, 1, 2]]
    assert popularity.rank(histories, k=5, exclude=None).tolist() == [[0, 1, 2, 3, -1]] * 4


@given(st.data())
def test_lists_equal_a_slow_loop(data):
    n_items, k = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 15))
    counts = data.draw(st.lists(st.integers(0, 3), min_size=n_items, max_size=n_items))
    histories = data.draw(st.lists(st.lists(st.integers(0, n_items - 1), max_size=8), min_size=1, max_size=5))
    popularity = Popularity(np.array(counts), BaselineSettings(seed=3))
    assert sorted(popularity.order.tolist()) == list(range(n_items))
    assert (np.diff(np.array(counts)[popularity.order]) <= 0).all()
    expected = [[i for i in popularity.order.tolist() if i not in history][:k] for history in histories]
    rows = Ragged.from_lists(histories)
    ranked = popularity.rank(rows, k, exclude=rows)
    assert ranked.tolist() == [row + [-1] * (k - len(row)) for row in expected]
    for exclude in (None, rows):
        of_scores = Ranker.rank(popularity, rows, k, exclude=exclude)
        assert popularity.rank(rows, k, exclude=exclude).tolist() == of_scores.tolist()


def test_many_users_at_once_are_ranked_as_one_by_one():
    rng = np.random.default_rng(0)
    histories = Ragged.from_lists([rng.integers(0, 200, rng.integers(0, 30)) for _ in range(3000)])
    popularity = Popularity(rng.integers(0, 50, 200))
    together = popularity.rank(histories, 10, exclude=histories)
    for user in (0, 1023, 1024, 2047, 2999):
        alone = histories.take(np.array([user]))
        assert together[user].tolist() == popularity.rank(alone, 10, exclude=alone)[0].tolist()


def test_candidates_come_most_popular_first():
    popularity = Popularity(np.array([1, 9, 5, 7]))
    assert popularity.rank_candidates(np.array([[0, 1, 2], [3, 2, 1]])).tolist() == [[1, 2, 0], [1, 3, 2]]


def test_ties_are_fair_and_the_seed_decides():
    """An item among 100 of equal count is in the first 10 one time in ten, wherever it stands among the candidates."""
    counts, candidates = np.ones(100, int), np.arange(100)[None, :]
    hits = [
        Popularity(counts, BaselineSettings(seed=seed)).rank_candidates(candidates)[0, :10].tolist().count(0)
        for seed in range(2000)
    ]
    assert np.mean(hits) == pytest.approx(0.1, abs=0.03)
    assert (
        Popularity(counts, BaselineSettings(seed=5)).order.tolist()
        == Popularity(counts, BaselineSettings(seed=5)).order.tolist()
    )
    assert (
        Popularity(counts, BaselineSettings(seed=5)).order.tolist()
        != Popularity(counts, BaselineSettings(seed=6)).order.tolist()
    )


def test_published_numbers_on_beauty(shared):
    """What others measure: .0115 over all items, .2906 (± .006) among 100."""
    table = pl.read_parquet(shared / "data" / "amazon2014" / "beauty" / "interactions.parquet")
    rows = {item: row for row, item in enumerate(table["item"].unique(maintain_order=True))}
    table = table.with_columns(pl.col("item").replace_strict(rows))
    shop = Shop(table.group_by("user", maintain_order=True).agg("item")["item"].to_list(), len(rows))
    popularity, targets = Popularity.fit(shop), shop.targets("test")
    histories = shop.history("test")
    ranked = popularity.rank(histories, 10, exclude=histories)
    full = ranking_metrics(ranks_in_list(ranked, targets), ks=(10,))
    assert full["HR@10"].mean() == pytest.approx(0.0115, abs=0.0003)

    rng = np.random.default_rng(0)
    negatives = np.array(
        [rng.choice(np.setdiff1d(rng.integers(0, len(rows), 160), own), 99, replace=False) for own in shop.sequences]
    )
    lists = popularity.rank_candidates(np.hstack([negatives, targets[:, None]]))
    among_100 = ranking_metrics(ranks_in_list(lists, targets), ks=(10,))
    assert among_100["HR@10"].mean() == pytest.approx(0.2906, abs=0.006)
