"""Shuffled targets: drawn as they should be, and at the chance that counting gives."""

import numpy as np
import pytest

from vip5.baselines.popularity import Popularity
from vip5.data import Dataset
from vip5.evaluation.control import control, shuffled_choices, shuffled_targets
from vip5.evaluation.held_out import HeldOut


def test_targets_are_drawn_outside_the_history(make_shop):
    dataset = make_shop({"a": "vwxyz", "b": "wvw", "c": "zyxwv"})
    drawn = np.array([shuffled_targets(HeldOut.of(dataset), 5, seed) for seed in range(600)])
    free = [[4], [2, 3, 4], [0]]  # v w x y z are 0 … 4, and each history ends before the test item
    for user, items in enumerate(free):
        values, counts = np.unique(drawn[:, user], return_counts=True)
        assert values.tolist() == items and counts.min() > 0.7 * 600 / len(items)
    assert (shuffled_targets(HeldOut.of(dataset), 5, 3) == drawn[3]).all()


def test_chance_by_hand(make_shop):
    """Two users with 3 and 2 items outside their history, lists of 2: HR 2/3 and 1, NDCG 1 + 1/log2 3 over these."""
    dataset = make_shop({"a": "wvw", "b": "xyzw"}, {"item": list("vwxyz")})
    histories = HeldOut.of(dataset).histories
    ranked = Popularity.fit(dataset).rank(histories, 2, exclude=histories)
    found = control(ranked, HeldOut.of(dataset), dataset.n_items, k=2)
    gain = 1 + 1 / np.log2(3)
    assert found.chance_hit_rate == pytest.approx((2 / 3 + 1) / 2)
    assert found.chance_ndcg == pytest.approx((gain / 3 + gain / 2) / 2)


def test_lists_that_do_not_know_are_at_chance_and_others_are_not(random_shop: Dataset):
    tested = HeldOut.of(random_shop)
    found = control(Popularity.fit(random_shop).rank_candidates(tested.lists, tested.histories), tested)
    assert found.chance_hit_rate == pytest.approx(0.1) and found.p > 0.01
    assert found.hit_rate.low < 0.1 < found.hit_rate.high and found.ndcg.low < found.chance_ndcg < found.ndcg.high
    ranked = Popularity.fit(random_shop).rank(tested.histories, 10, exclude=tested.histories)
    assert control(ranked, tested, random_shop.n_items).p > 0.01
    ranked[:, 3] = shuffled_targets(tested, random_shop.n_items)
    assert (
        control(ranked, tested, random_shop.n_items).hit_rate.value == 1
        and control(ranked, tested, random_shop.n_items).p < 1e-9
    )
    assert (shuffled_choices(tested.lists) == tested.targets).mean() < 0.05


def test_a_history_of_everything(make_shop):
    dataset = make_shop({"a": "wxwx", "b": "wxww"})
    ranked = np.array([[0, 1], [1, 0]])
    assert control(ranked, HeldOut.of(dataset), dataset.n_items, k=2).hit_rate.value == 1
