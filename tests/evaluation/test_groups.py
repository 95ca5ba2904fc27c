"""Groups of users: every user is in exactly one, and its name says the truth about them."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.evaluation.groups import history_groups, popularity_groups


def test_histories_by_hand():
    groups = history_groups(np.array([4, 5, 9, 10, 300, 1, 20]))
    assert [(name, np.flatnonzero(mask).tolist()) for name, mask in groups] == [
        ("history 1-4", [0, 5]),
        ("history 5-9", [1, 2]),
        ("history 10-19", [3]),
        ("history 20+", [4, 6]),
    ]


def test_popularity_by_hand():
    groups = popularity_groups(np.array([0, 1, 4, 5, 19, 20, 99, 100, 5000]))
    assert [(name, int(mask.sum())) for name, mask in groups] == [
        ("bought 0 times", 1),
        ("bought 1-4 times", 2),
        ("bought 5-19 times", 2),
        ("bought 20-99 times", 2),
        ("bought 100+ times", 2),
    ]


def test_groups_without_users_are_left_out():
    assert [name for name, _ in history_groups(np.array([0, 12]))] == ["history 0", "history 10-19"]
    assert popularity_groups(np.array([], dtype=int)) == []


def test_nothing_is_negative():
    with pytest.raises(ValueError, match="negative"):
        history_groups(np.array([3, -1]))


@pytest.mark.parametrize("groups_of", [history_groups, popularity_groups])
@given(values=st.lists(st.one_of(st.integers(0, 120), st.integers(0, 10**6)), max_size=60))
def test_groups_partition_the_users(groups_of, values):
    groups = groups_of(np.array(values, dtype=int))
    assert np.sum([mask for _, mask in groups], axis=0).tolist() == [1] * len(values) or not values
    assert len({name for name, _ in groups}) == len(groups)
    for name, mask in groups:
        numbers = [int(number) for number in re.findall(r"\d+", name)]
        inside = np.array(values)[mask]
        assert len(inside) and inside.min() >= numbers[0]
        assert "+" in name or inside.max() <= numbers[-1]
