"""Negatives: never the user's own, distinct, uniform, the same by seed."""

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data import Ragged
from vip5.data.candidates import draw_negatives


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.lists(st.integers(0, n - 1), min_size=1, max_size=40), max_size=6))
    ),
    st.integers(1, 20),
    st.integers(0, 5),
)
def test_distinct_and_never_the_users_own(case: tuple[int, list[list[int]]], width: int, seed: int) -> None:
    n_items, rows = case
    negatives = draw_negatives(Ragged.from_lists(rows), n_items, seed, width)
    free = min((n_items - len(set(row)) for row in rows), default=n_items)
    assert negatives.shape == (len(rows), min(width, free)) and negatives.dtype == np.int32
    for row, drawn in zip(rows, negatives.tolist(), strict=True):
        assert len(set(drawn)) == len(drawn)
        assert not set(drawn) & set(row)
        assert all(0 <= item < n_items for item in drawn)
    assert np.array_equal(negatives, draw_negatives(Ragged.from_lists(rows), n_items, seed, width))


def test_uniform_over_items_and_places() -> None:
    users, n_items, width = 6000, 12, 5
    negatives = draw_negatives(Ragged.from_lists([[3, 7]] * users), n_items, seed=1, width=width)
    for place in range(width):
        counts = np.bincount(negatives[:, place], minlength=n_items)
        assert counts[[3, 7]].sum() == 0
        expected = users / 10
        chi_square = ((counts[np.delete(np.arange(n_items), [3, 7])] - expected) ** 2 / expected).sum()
        assert chi_square < 27.9  # 99.9 % of chi-square with 9 degrees of freedom


def test_seeds_differ() -> None:
    rows = Ragged.from_lists([[0]] * 5)
    assert not np.array_equal(draw_negatives(rows, 1000, 0), draw_negatives(rows, 1000, 1))


def test_as_many_users_as_beauty_has_in_moments() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 15, size=22_363)
    rows = Ragged.from_lengths(rng.integers(12_101, size=lengths.sum(), dtype=np.int32), lengths)
    start = time.perf_counter()
    assert draw_negatives(rows, 12_101, 0).shape == (22_363, 99)
    assert time.perf_counter() - start < 10  # 1 second on an idle machine
