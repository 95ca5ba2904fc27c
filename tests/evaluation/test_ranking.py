"""Ranking metrics: written-out cases, a slow loop that says the same, and what must always hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.evaluation.ranking import ABSENT, hit_rate, mrr, ndcg, ranking_metrics, ranks_from_scores, ranks_in_list


def test_written_out_case():
    ranks = ranks_in_list(np.array([[7, 3, 5], [1, 2, 3], [9, 8, 4]]), np.array([7, 3, 6]))
    assert ranks.tolist() == [0, 2, ABSENT]
    assert hit_rate(ranks, 2).tolist() == [1, 0, 0]
    assert ndcg(ranks, 3).tolist() == pytest.approx([1, 1 / math.log2(4), 0])
    assert mrr(ranks, 3).tolist() == pytest.approx([1, 1 / 3, 0])


def test_wasted_places_move_nothing_up():
    ranked = np.array([[4, 4, 4, 6, -1], [-1, -1, 6, 6, 2], [-1, -1, -1, -1, -1]])
    assert ranks_in_list(ranked, np.array([6, 6, 6])).tolist() == [3, 2, ABSENT]


def test_padding_is_never_a_hit():
    with pytest.raises(ValueError, match="negative"):
        ranks_in_list(np.array([[-1, 2]]), np.array([-1]))


def test_empty_lists_and_no_users():
    assert ranks_in_list(np.empty((2, 0), int), np.array([1, 2])).tolist() == [ABSENT, ABSENT]
    assert all(len(v) == 0 for v in ranking_metrics(ranks_in_list(np.empty((0, 5), int), np.empty(0, int))).values())


def test_ties_are_broken_against_the_model():
    scores = np.array([[1.0, 1.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 2.0]])
    assert ranks_from_scores(scores, np.array([0, 1, 2])).tolist() == [2, 1, 1]


def test_scores_that_are_not_numbers_are_last():
    scores = np.array([[np.nan, 0.5, 0.1], [0.9, np.nan, 0.1], [-np.inf, 0.2, -np.inf]])
    assert ranks_from_scores(scores, np.array([0, 0, 0])).tolist() == [2, 1, 2]


def test_metrics_have_their_names_and_agree_at_one():
    metrics = ranking_metrics(np.array([0, 1, 4, ABSENT]), ks=(1, 5))
    assert list(metrics) == ["HR@1", "NDCG@1", "MRR@1", "HR@5", "NDCG@5", "MRR@5"]
    assert metrics["HR@1"].tolist() == metrics["NDCG@1"].tolist() == metrics["MRR@1"].tolist() == [1, 0, 0, 0]
    assert metrics["HR@5"].tolist() == [1, 1, 1, 0]


@given(st.data())
def test_lists_equal_a_slow_loop(data):
    n, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 8))
    ranked = np.array(
        data.draw(st.lists(st.lists(st.integers(-1, 9), min_size=width, max_size=width), min_size=n, max_size=n))
    )
    targets = np.array(data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)))
    k = data.draw(st.integers(1, 10))
    gains = []
    for row, target in zip(ranked.tolist(), targets.tolist(), strict=True):
        gain = 0.0
        for place, item in enumerate(row[:k], start=1):
            if item == target:
                gain = 1 / math.log2(place + 1)
                break
        gains.append(gain)
    assert ndcg(ranks_in_list(ranked, targets), k).tolist() == pytest.approx(gains)


@given(st.lists(st.one_of(st.integers(0, 30), st.just(ABSENT)), min_size=1, max_size=20), st.integers(1, 25))
def test_metrics_stay_between_0_and_1_and_never_fall_with_k(ranks, k):
    now, more = (ranking_metrics(np.array(ranks), ks=(j,)) for j in (k, k + 1))
    for name in ("HR", "NDCG", "MRR"):
        low, high = now[f"{name}@{k}"], more[f"{name}@{k + 1}"]
        assert ((low >= 0) & (low <= high) & (high <= 1)).all()
    assert (now[f"MRR@{k}"] <= now[f"NDCG@{k}"]).all() and (now[f"NDCG@{k}"] <= now[f"HR@{k}"]).all()


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_columns_does_not_matter(scores, random):
    """No place among the candidates is a better place to be."""
    order = list(range(len(scores)))
    random.shuffle(order)
    straight = ranks_from_scores(np.array([scores]), np.array([0]))
    shuffled = ranks_from_scores(np.array([[scores[i] for i in order]]), np.array([order.index(0)]))
    assert straight.tolist() == shuffled.tolist() == [sum(s >= scores[0] for s in scores) - 1]
