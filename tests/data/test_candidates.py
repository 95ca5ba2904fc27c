"""Negatives: never the user's own, distinct, drawn by their weights, the same by seed."""

import hashlib
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data import Ragged, candidates
from vip5.data.candidates import draw_negatives, hash_of_lists, store_lists
from vip5.data.hashing import content_hash


def equal(n_items: int) -> np.ndarray:
    return np.ones(n_items, dtype=np.int64)


@st.composite
def shops(draw) -> tuple[list[list[int]], np.ndarray]:
    """Sequences and weights."""
    n_items = draw(st.integers(1, 30))
    rows = draw(st.lists(st.lists(st.integers(0, n_items - 1), min_size=1, max_size=40), max_size=6))
    skewed = st.lists(st.sampled_from([0, 1, 2, 50, 100_000, 2**33]), min_size=n_items, max_size=n_items)
    return rows, draw(st.just(equal(n_items)) | st.just(3 * equal(n_items)) | skewed.filter(any).map(np.array))


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


def by_a_plain_loop(
    rows: list[list[int]], weights: np.ndarray, seed: int, width: int, number: int, patience: int
) -> list[list[int]]:
    """The lists of datasets that are there already: user after user, a round of draws for all of them at a time."""
    n_items, n_able = len(weights), np.count_nonzero(weights)
    own = [set(row) for row in rows]
    width = min([width, n_able, *(n_able - sum(weights[item] > 0 for item in o) for o in own)])
    rng = np.random.default_rng([seed, 2, number])
    cumulative = np.cumsum(weights)
    kept: list[list[int]] = [[] for _ in rows]
    pending, tries, tried = list(range(len(rows) if width else 0)), width + width // 4 + 1, 0
    while pending and tried < patience * n_able:
        for user, drawn in zip(pending, rng.integers(cumulative[-1], size=(len(pending), tries)), strict=True):
            items = np.searchsorted(cumulative, drawn, side="right").tolist()
            kept[user] = list(dict.fromkeys(kept[user] + [item for item in items if item not in own[user]]))
        pending = [user for user in pending if len(kept[user]) < width]
        tried, tries = tried + tries, min(2 * tries, 4 * n_able)
    for user in pending:
        with np.errstate(divide="ignore"):
            keys = rng.exponential(size=n_items) / weights
        left = [item for item in np.argsort(keys).tolist() if item not in own[user] and item not in kept[user]]
        kept[user] += left
    return [row[:width] for row in kept]


@settings(deadline=None, max_examples=300)
@given(
    shops(),
    st.integers(1, 20),
    st.integers(0, 5),
    st.integers(0, 2),
    st.sampled_from([64, 1, 0]),  # by rejection, by both, by keys alone
    st.sampled_from([1, 50, 2**18]),
    st.sampled_from([0, 2**26]),
)
def test_in_blocks_as_by_a_plain_loop(
    case: tuple[list[list[int]], np.ndarray], width: int, seed: int, number: int, patience: int, cells: int, table: int
) -> None:
    """Whatever the size of a block, and whether an item is looked up or searched for."""
    rows, weights = case
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_PATIENCE", patience), ("_CELLS", cells), ("_TABLE", table)):
            patch.setattr(candidates, name, value)
        drawn = draw_negatives(Ragged.from_lists(rows), weights, seed, width, number)
    assert drawn.tolist() == by_a_plain_loop(rows, weights, seed, width, number, patience)


@pytest.mark.parametrize("n_items", [60, 3000, 2**25])  # where all draws meet, some, and keys need 64 bits
def test_many_users_as_by_a_plain_loop(n_items: int) -> None:
    rng = np.random.default_rng(n_items)
    rows = [rng.integers(n_items, size=n).tolist() for n in rng.integers(1, 40, size=40)]
    weights = equal(n_items) if n_items > 3000 else rng.integers(0, 9, n_items)
    drawn = draw_negatives(Ragged.from_lists(rows), weights, 1)
    assert drawn.tolist() == by_a_plain_loop(rows, weights, 1, 99, 0, 64)


def test_it_is_told_how_many_users_are_done() -> None:
    for patience in (64, 0):
        told: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(candidates, "_PATIENCE", patience)
            patch.setattr(candidates, "_CELLS", 100)
            draw_negatives(Ragged.from_lists([[1, 2]] * 30), equal(12), 0, 9, advance=told.append)
        assert sum(told) == 30 and len(told) > 2


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


@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 7, 5), (2, 4, 0), (1, 1, 9)])
@pytest.mark.parametrize("rows", [1, 12, 2**20])
def test_stored_in_blocks_as_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], rows: int
) -> None:
    monkeypatch.setattr(candidates, "_ROWS", rows)
    lists = np.random.default_rng(0).integers(1000, size=shape, dtype=np.int32)
    digest = hashlib.sha256()
    assert store_lists(tmp_path / "t.parquet", iter(lists), shape, digest) == hash_of_lists(lists)
    number, user, _ = (cells.ravel().astype(np.int32) for cells in np.indices(shape))
    table = pl.DataFrame({"list": number, "user": user, "item": lists.ravel()})
    table = table if shape[0] > 1 else table.drop("list")
    stored = pl.read_parquet(tmp_path / "t.parquet")
    assert stored.equals(table) and stored.schema == table.schema
    assert digest.hexdigest() == content_hash({"candidates": table})
    whole = hashlib.sha256("x".join(map(str, shape)).encode() + b"\n" + lists.astype("<i4").tobytes())
    assert hash_of_lists(lists) == whole.hexdigest()


def test_as_many_users_as_beauty_has_in_moments() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 15, size=22_363)
    rows = Ragged.from_lengths(rng.integers(12_101, size=lengths.sum(), dtype=np.int32), lengths)
    for weights in (equal(12_101), rng.zipf(1.7, 12_101).clip(0, 500)):
        start = time.perf_counter()
        assert draw_negatives(rows, weights, 0).shape == (22_363, 99)
        assert time.perf_counter() - start < 10  # 1 second on an idle machine
