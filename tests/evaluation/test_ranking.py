"""Ranking metrics: written-out cases, torchmetrics and a slow loop that say the same, and what must always hold."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_reciprocal_rank,
)

from vip5.data import Ragged
from vip5.evaluation.ranking import ABSENT, hit_rate, mrr, ndcg, ranking_metrics, ranks_from_scores, ranks_in_list


def test_written_out_case():
    ranks = ranks_in_list(np.array([[7, 3, 5], [1, 2, 3], [9, 8, 4]]), np.array([7, 3, 6]))
    assert ranks.tolist() == [0, 2, ABSENT]
    assert hit_rate(ranks, 2).tolist() == [1, 0, 0]
    assert ndcg(ranks, 3).tolist() == pytest.approx([1, 1 / math.log2(4), 0])
    assert mrr(ranks, 3).tolist() == pytest.approx([1, 1 / 3, 0])


def theirs(scores: np.ndarray, target: int, k: int) -> dict[str, float]:
    """HR, NDCG and MRR of one user by torchmetrics, whose input is a score for each item of the catalogue."""
    relevant = np.zeros(len(scores), dtype=np.int64)
    relevant[target] = 1
    inputs = torch.from_numpy(scores), torch.from_numpy(relevant)
    metrics = {"HR": retrieval_hit_rate, "NDCG": retrieval_normalized_dcg, "MRR": retrieval_reciprocal_rank}
    return {f"{name}@{k}": float(metric(*inputs, top_k=k)) for name, metric in metrics.items()}


def test_equals_torchmetrics():
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(40.0), (200, 1)), axis=1)  # without ties, of which it knows no better side
    targets = rng.integers(0, 40, 200)
    ranked = np.argsort(-scores, axis=1)[:, :20]
    for ranks in (ranks_in_list(ranked, targets), ranks_from_scores(scores, targets)):
        ours = ranking_metrics(ranks, ks=(1, 5, 10))
        for k in (1, 5, 10):
            for user in range(200):
                expected = theirs(scores[user], targets[user], k)
                assert {name: ours[name][user] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_equals_torchmetrics_without_the_excluded_items():
    rng = np.random.default_rng(1)
    scores = rng.permuted(np.tile(np.arange(30.0), (100, 1)), axis=1)
    targets = rng.integers(0, 30, 100)
    history = [rng.choice(np.delete(np.arange(30), target), rng.integers(0, 15), replace=False) for target in targets]
    ours = ranking_metrics(ranks_from_scores(scores, targets, Ragged.from_lists(history)), ks=(5,))
    for user, (items, target) in enumerate(zip(history, targets, strict=True)):
        left = np.delete(np.arange(30), items)
        expected = theirs(scores[user, left], int(np.flatnonzero(left == target)[0]), 5)
        assert {name: ours[name][user] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_wasted_places_move_nothing_up():
    ranked = np.array([[4, 4, 4, 6, -1], [-1, -1, 6, 6, 2], [-1, -1, -1, -1, -1]])
    assert ranks_in_list(ranked, np.array([6, 6, 6])).tolist() == [3, 2, ABSENT]


def test_padding_is_never_a_hit():
    with pytest.raises(ValueError, match="negative"):
        ranks_in_list(np.array([[-1, 2]]), np.array([-1]))


def test_a_score_that_is_no_number_never_ranks_well():
    ranked, scores = np.array([[5, 6, 7]] * 2), np.array([[np.nan, 0.5, 0.2], [0.9, np.nan, 0.2]])
    assert ranks_in_list(ranked, np.array([5, 5]), scores).tolist() == [2, 1]


def test_empty_lists_and_no_users():
    assert ranks_in_list(np.empty((2, 0), int), np.array([1, 2])).tolist() == [ABSENT, ABSENT]
    assert all(len(v) == 0 for v in ranking_metrics(ranks_in_list(np.empty((0, 5), int), np.empty(0, int))).values())


def test_ties_are_broken_against_the_model():
    scores = np.array([[1.0, 1.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 2.0]])
    assert ranks_from_scores(scores, np.array([0, 1, 2])).tolist() == [2, 1, 1]


def test_scores_that_are_not_numbers_are_last():
    scores = np.array([[np.nan, 0.5, 0.1], [0.9, np.nan, 0.1], [-np.inf, 0.2, -np.inf]])
    assert ranks_from_scores(scores, np.array([0, 0, 0])).tolist() == [2, 1, 2]


def test_excluded_columns_do_not_count():
    scores = np.array([[9.0, 8.0, 7.0, 6.0], [9.0, 8.0, 7.0, 7.0], [1.0, np.nan, 1.0, 1.0]])
    excluded = Ragged.from_lists([[0, 2], [], [1, 1, 3]])
    assert ranks_from_scores(scores, np.array([3, 3, 0]), excluded).tolist() == [1, 3, 1]


def test_the_target_counts_although_the_user_knows_it():
    """What is bought again is in the history: the target keeps its place."""
    scores = np.array([[9.0, 8.0, 7.0]])
    assert ranks_from_scores(scores, np.array([1]), Ragged.from_lists([[1]])).tolist() == [1]
    assert ranks_from_scores(scores, np.array([1]), Ragged.from_lists([[0, 1]])).tolist() == [0]


def test_excluded_columns_are_those_of_the_rows():
    with pytest.raises(ValueError, match="each of 1 rows, not for 2"):
        ranks_from_scores(np.zeros((1, 3)), np.array([0]), Ragged.from_lists([[1], [2]]))


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


def test_ties_in_a_list_are_broken_against_the_model():
    ranked, scores = np.array([[5, 3, 8, -1], [5, 3, 8, 1]]), np.array([[0.0, -1, -1, -np.inf], [-2.0, -2, -2, -2]])
    assert ranks_in_list(ranked, np.array([3, 5]), scores).tolist() == [2, 3]
    assert ranks_in_list(ranked, np.array([5, 9]), scores).tolist() == [0, ABSENT]
    assert ranks_in_list(ranked, np.array([3, 5])).tolist() == [1, 0]
