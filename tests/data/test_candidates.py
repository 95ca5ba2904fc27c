"""Negatives: never the user's own, distinct, drawn by their weights, the same by seed."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data import Ragged, candidates
from vip5.data.candidates import draw_negatives, hash_of_lists


def equal(n_items: int) -> np.ndarray:
    return np.ones(n_items, dtype=np.int64)


@st.composite
def shops(draw) -> tuple[list[list[int]], np.ndarray]:
    """Sequences and weights."""
    n_items = draw(st.integers(1, 30))
    rows = draw(st.lists(st.lists(st.integers(0, n_items - 1), min_size=1, max_size=40), max_size=6))
    skewed = st.lists(st.sampled_from([0, 1, 2, 50, 100_000]), min_size=n_items, max_size=n_items)
    return rows, draw(st.just(equal(n_items)) | skewed.filter(any).map(np.array))


@settings(deadline=None, max_examples=100)
@given(shops(), st.integers(1, 20), st.integers(0, 5), st.integers(0, 2))
def test_distinct_and_never_the_users_own(
    case: tuple[list[list[int]], np.ndarray], width: int, seed: int, number: int
) -> None:
    rows, weights = case
    able = set(np.flatnonzero(weights).tolist())
    negatives = draw_negatives(Ragged.from_lists(rows), weights, seed, width, number)
    free = min((len(able - set(row)) for row in rows), default=len(able))
    assert negatives.shape == (len(rows), min(width, free)) and negatives.dtype == np.int32
    for row, drawn in zip(rows, negatives.tolist(), strict=True):
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= able - set(row)
    assert np.array_equal(negatives, draw_negatives(Ragged.from_lists(rows), weights, seed, width, number))


@settings(deadline=None, max_examples=40)
@given(shops(), st.integers(1, 20), st.integers(0, 5))
def test_one_uniform_list_is_what_it_always_was(
    case: tuple[list[list[int]], np.ndarray], width: int, seed: int
) -> None:
    """The lists of datasets that are there already, by the loop that made them."""
    rows, weights = case
    n_items, sequences = len(weights), Ragged.from_lists(rows)
    own = [set(row) for row in rows]
    width = min(width, min((n_items - len(o) for o in own), default=n_items))
    rng = np.random.default_rng([seed, 2])
    kept: list[list[int]] = [[] for _ in rows]
    pending, tries = list(range(len(rows) if width else 0)), width + width // 4 + 1
    while pending:
        for user, draws in zip(pending, rng.integers(n_items, size=(len(pending), tries)).tolist(), strict=True):
            kept[user] = list(dict.fromkeys(kept[user] + [item for item in draws if item not in own[user]]))
        pending = [user for user in pending if len(kept[user]) < width]
        tries = min(2 * tries, 4 * n_items)
    assert draw_negatives(sequences, equal(n_items), seed, width).tolist() == [row[:width] for row in kept]


def test_uniform_over_items_and_places() -> None:
    users, n_items, width = 6000, 12, 5
    negatives = draw_negatives(Ragged.from_lists([[3, 7]] * users), equal(n_items), seed=1, width=width)
    for place in range(width):
        counts = np.bincount(negatives[:, place], minlength=n_items)
        assert counts[[3, 7]].sum() == 0
        expected = users / 10
        chi_square = ((counts[np.delete(np.arange(n_items), [3, 7])] - expected) ** 2 / expected).sum()
        assert chi_square < 27.9  # 99.9 % of chi-square with 9 degrees of freedom


@pytest.mark.parametrize("patience", [64, 1, 0])  # by rejection, by both, by keys alone
def test_by_weight_one_after_the_other_without_replacement(monkeypatch: pytest.MonkeyPatch, patience: int) -> None:
    """The first two places against the probabilities by hand: w_a / W, then w_b / (W - w_a)."""
    monkeypatch.setattr(candidates, "_PATIENCE", patience)
    users, weights = 20_000, np.array([5, 30, 10, 0, 50, 5, 999])
    drawn = draw_negatives(Ragged.from_lists([[6]] * users), weights, seed=3, width=3)
    assert not np.isin(drawn, [3, 6]).any()
    counts = np.bincount(drawn[:, 0] * 7 + drawn[:, 1], minlength=49).reshape(7, 7)
    w = np.where(np.arange(7) == 6, 0, weights) / 100
    expected = users * w[:, None] * w[None, :] / (1 - w[:, None])
    np.fill_diagonal(expected, 0)
    there = expected > 0
    assert counts[~there].sum() == 0 and there.sum() == 20
    chi_square = ((counts[there] - expected[there]) ** 2 / expected[there]).sum()
    assert chi_square < 43.8  # 99.9 % of chi-square with 19 degrees of freedom


def test_the_rarest_items_are_reached_too() -> None:
    """All but one of the items stand in every list, though one of them weighs a hundred-millionth of another."""
    weights = np.array([10**8, 1, 10**4, 1, 10**8])
    start = time.perf_counter()
    drawn = draw_negatives(Ragged.from_lists([[0]] * 3000), weights, seed=0)
    assert (np.sort(drawn, axis=1) == [1, 2, 3, 4]).all() and (drawn[:, 0] == 4).mean() > 0.99
    assert (drawn[:, 3] == 1).mean() == pytest.approx(0.5, abs=0.05)
    assert time.perf_counter() - start < 5


def test_seeds_and_lists_differ() -> None:
    rows = Ragged.from_lists([[0]] * 5)
    made = [draw_negatives(rows, equal(1000), seed, number=n).tobytes() for seed in (0, 1) for n in (0, 1, 2)]
    assert len(set(made)) == 6


def test_lists_are_independent() -> None:
    """Two lists share as many items as chance has it: 20 * 20 / 100."""
    rows = Ragged.from_lists([[0]] * 2000)
    one, other = (draw_negatives(rows, equal(101), 0, 20, number) for number in (0, 1))
    shared = [len(set(a) & set(b)) for a, b in zip(one.tolist(), other.tolist(), strict=True)]
    assert np.mean(shared) == pytest.approx(4, abs=0.15)


def test_the_hash_is_of_lists_users_and_places() -> None:
    lists = np.arange(12, dtype=np.int32)
    shapes = [(1, 3, 4), (1, 4, 3), (2, 3, 2)]
    hashes = [hash_of_lists(lists.reshape(shape)) for shape in shapes]
    assert len(set(hashes)) == 3 and hashes[0] == hash_of_lists(lists.reshape(1, 3, 4).astype(np.int64))
    assert hashes[0] != hash_of_lists(lists[::-1].reshape(1, 3, 4))


def test_as_many_users_as_beauty_has_in_moments() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 15, size=22_363)
    rows = Ragged.from_lengths(rng.integers(12_101, size=lengths.sum(), dtype=np.int32), lengths)
    for weights in (equal(12_101), rng.zipf(1.7, 12_101).clip(0, 500)):
        start = time.perf_counter()
        assert draw_negatives(rows, weights, 0).shape == (22_363, 99)
        assert time.perf_counter() - start < 10  # 1 second on an idle machine
