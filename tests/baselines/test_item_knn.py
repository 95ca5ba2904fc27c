"""Item-kNN against a slow loop, a case worked out by hand, and its contract."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.baselines.base import Ranker
from vip5.baselines.item_knn import ItemKNN
from vip5.data import Ragged


@dataclass
class Shop:
    """What the baseline needs of a data set."""

    train: list[list[int]]
    n_items: int

    @property
    def n_users(self) -> int:
        return len(self.train)

    def history(self, split: str) -> Ragged:
        assert split == "train"
        return Ragged.from_lists(self.train)


def slow_scores(
    shop: Shop, history: list[int], recent: int, neighbours: int | None = None, shrink: float = 0.0
) -> dict[int, float]:
    buyers = [{user for user, row in enumerate(shop.train) if item in row} for item in range(shop.n_items)]
    scores: dict[int, float] = defaultdict(float)
    for item in set(history[-recent:]):
        near = {}
        for other in range(shop.n_items):
            if both := len(buyers[item] & buyers[other]) * (other != item):
                near[other] = both / (np.sqrt(len(buyers[item]) * len(buyers[other])) + shrink)
        for other, similarity in near.items():
            if neighbours is None or sum(value > similarity + 1e-9 for value in near.values()) < neighbours:
                scores[other] += similarity
    return scores


def test_by_hand():
    """Items 0 and 1 have both buyers of 1 in common: 2 / √(3·2); 0 and 2 one: 1 / √(3·1); 3 was bought alone."""
    shop = Shop([[0, 1, 1], [1, 0], [0, 2], [3]], n_items=5)
    knn = ItemKNN.fit(shop)
    dense = knn.similarity.toarray()
    assert dense[0, 1] == pytest.approx(2 / 6**0.5) and dense[0, 2] == pytest.approx(1 / 3**0.5)
    assert (dense == dense.T).all() and (dense.diagonal() == 0).all() and not dense[3].any()
    histories = Ragged.from_lists([[0], [0, 1], [3], [], [2, 1]])
    ranked = knn.rank(histories, 3, exclude=histories)
    assert ranked.tolist() == [[1, 2, -1], [2, -1, -1], [-1, -1, -1], [-1, -1, -1], [0, -1, -1]]
    again = knn.rank(histories, 3, exclude=None).tolist()
    assert again[0] == [1, 2, -1] and sorted(again[1][:2]) == [0, 1] and again[1][2] == 2 and again[2] == [-1] * 3
    similar, values = knn.similar(np.array([0, 3, 1]), 2)
    assert similar.tolist() == [[1, 2], [-1, -1], [0, -1]]
    assert values == pytest.approx(np.array([[2 / 6**0.5, 1 / 3**0.5], [0, 0], [2 / 6**0.5, 0]]))
    assert knn.rank_candidates(np.array([[4, 2, 1]]), Ragged.from_lists([[0]])).tolist() == [[1, 2, 4]]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_lists_equal_a_slow_loop(data):
    n_items, k = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 12))
    rows = st.lists(st.lists(st.integers(0, n_items - 1), max_size=6), min_size=1, max_size=6)
    shop, histories = Shop(data.draw(rows), n_items), data.draw(rows)
    recent = data.draw(st.integers(1, 4))
    tuned = {
        "neighbours": data.draw(st.sampled_from([None, 1, 2, 3])),
        "shrink": data.draw(st.sampled_from([0.0, 2.5])),
    }
    knn = ItemKNN.fit(shop, recent=recent, seed=2, **tuned)
    everything = np.tile(np.arange(n_items), (len(histories), 1))
    ranked = knn.rank(Ragged.from_lists(histories), k, exclude=Ragged.from_lists(histories))
    ordered = knn.rank_candidates(everything, Ragged.from_lists(histories))
    for history, row, order in zip(histories, ranked.tolist(), ordered.tolist(), strict=True):
        scores = slow_scores(shop, history, recent, **tuned)
        found = [item for item in row if item >= 0]
        free = {item: score for item, score in scores.items() if item not in history}
        assert (
            found == row[: len(found)]
            and len(set(found)) == len(found) == min(k, len(free))
            and set(found) <= set(free)
        )
        best = sorted(free.values(), reverse=True)[:k]
        assert [free[item] for item in found] == pytest.approx(best, rel=1e-5)
        assert sorted(order) == list(range(n_items))
        assert (np.diff([scores[item] for item in order]) <= 1e-5).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_lists_are_those_of_all_scores(data):
    """Of every ranker, `Ranker.rank`: whatever is left out."""
    n_items, k, n = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 12)), data.draw(st.integers(1, 6))
    items = st.lists(st.integers(0, n_items - 1), max_size=6)
    shop = Shop(data.draw(st.lists(items, min_size=1, max_size=6)), n_items)
    histories, left_out = (Ragged.from_lists(data.draw(st.lists(items, min_size=n, max_size=n))) for _ in range(2))
    knn = ItemKNN.fit(shop, recent=3)
    for exclude in (None, histories, left_out):
        expected = Ranker.rank(knn, histories, k, exclude=exclude)
        assert knn.rank(histories, k, exclude=exclude).tolist() == expected.tolist()


def test_histories_stay_as_they_are():
    histories = Ragged.from_lists([[1, 0, 1, 1], [0, 2], [2, 2]])
    before = histories.values.copy(), histories.offsets.copy()
    shop = Shop([], 3)
    shop.history = lambda split: histories  # type: ignore[method-assign]
    knn = ItemKNN.fit(shop)
    knn.rank(histories, 2, exclude=histories), knn.rank_candidates(np.array([[0, 1, 2]] * 3), histories)
    assert (histories.values == before[0]).all() and (histories.offsets == before[1]).all()


def knn_scores(knn: ItemKNN, history: np.ndarray, items: np.ndarray) -> list[float]:
    return [knn.similarity[np.unique(history[-knn.recent :])].sum(axis=0)[item] for item in items if item >= 0]


def test_many_users_at_once_are_ranked_as_one_by_one():
    rng = np.random.default_rng(0)
    shop = Shop([rng.integers(0, 200, rng.integers(1, 30)).tolist() for _ in range(2500)], 200)
    knn, histories = ItemKNN.fit(shop), shop.history("train")
    lists = np.stack([rng.permutation(200)[:20] for _ in range(2500)])
    together, ordered = knn.rank(histories, 10, exclude=histories), knn.rank_candidates(lists, histories)
    for user in (0, 1023, 1024, 2047, 2499):
        alone = Ragged.from_lists([histories[user]])
        assert together[user].tolist() == knn.rank(alone, 10, exclude=alone)[0].tolist()
        best = -np.sort(
            -knn.similarity[np.unique(histories[user][-20:])].sum(axis=0)[np.setdiff1d(range(200), histories[user])]
        )
        assert knn_scores(knn, histories[user], together[user]) == pytest.approx(best[:10], rel=1e-5)
        assert ordered[user].tolist() == knn.rank_candidates(lists[user : user + 1], alone)[0].tolist()


def test_ties_are_fair_and_the_seed_decides():
    """Of 20 items that know nothing of the history each comes first one time in twenty."""
    shop = Shop([[n] for n in range(20)], 20)
    first = [
        ItemKNN.fit(shop, seed=s).rank_candidates(np.arange(20)[None], Ragged.from_lists([[0]]))[0, 0]
        for s in range(1000)
    ]
    assert np.bincount(first, minlength=20).max() < 100
    assert first[:50] == [
        ItemKNN.fit(shop, seed=s).rank_candidates(np.arange(20)[None, ::-1], Ragged.from_lists([[0]]))[0, 0]
        for s in range(50)
    ]
