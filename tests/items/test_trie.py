"""The trie holds exactly the codes it was built from, as one tree or one for each group."""

import time
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vip5.errors import UserError
from vip5.items.trie import Trie

codes_of_words = st.lists(st.integers(2, 5), max_size=4).map(lambda word: (*word, 1))
code_sets = st.lists(codes_of_words, min_size=1, max_size=30, unique=True)
slow_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def table(codes: list[tuple[int, ...]]) -> np.ndarray:
    out = np.zeros((len(codes), max((len(c) for c in codes), default=0)), np.int64)
    for row, code in zip(out, codes, strict=True):
        row[: len(code)] = code
    return out


def leaves(trie: Trie, node: int, prefix: tuple[int, ...] = ()) -> dict[tuple[int, ...], int]:
    """The shortest prefix that tells an item from all others, and the item; checks the arrays on the way."""
    first, end = trie.child_start[node].item(), trie.child_start[node + 1].item()
    if first == end:
        return {prefix: trie.item[node].item()}
    tokens = trie.token[first:end].tolist()
    assert tokens == sorted(set(tokens))
    assert trie.parent[first:end].tolist() == [node] * (end - first)
    assert trie.size[node] == trie.size[first:end].sum()
    assert (trie.item[node] >= 0) == (trie.size[node] == 1)
    return {
        p: i
        for c, token in zip(range(first, end), tokens, strict=True)
        for p, i in leaves(trie, c, (*prefix, token)).items()
    }


def shortest_prefixes(codes: list[tuple[int, ...]], items: list[int]) -> dict[tuple[int, ...], int]:
    out = {}
    for code, item in zip(codes, items, strict=True):
        n = next(n for n in range(1, len(code) + 1) if sum(c[:n] == code[:n] for c in codes) == 1)
        out[code[:n]] = item
    return out


def test_written_out():
    #    root 0 ─ 7 → 1 (5 1 | 6 1), 8 → 2 = item 30
    trie = Trie.build(table([(8, 5, 6, 1), (7, 6, 1), (7, 5, 1)]), items=np.array([30, 20, 10]))
    assert trie.roots.tolist() == [0]
    assert trie.child_start.tolist() == [1, 3, 5, 5, 5, 5]
    assert trie.token.tolist() == [-1, 7, 8, 5, 6]
    assert trie.parent.tolist() == [-1, 0, 0, 1, 1]
    assert trie.size.tolist() == [3, 2, 1, 1, 1]
    assert trie.item.tolist() == [-1, -1, 30, 10, 20]
    assert trie.n_items == 3


@slow_machine
@given(code_sets, st.randoms())
def test_holds_what_it_was_built_from(codes, random):
    items = random.sample(range(1000), len(codes))
    trie = Trie.build(table(codes), np.array(items))
    assert leaves(trie, 0) == shortest_prefixes(codes, items)
    assert trie.n_items == len(codes)


@slow_machine
@given(st.lists(st.lists(codes_of_words, max_size=8, unique=True), min_size=1, max_size=6), st.randoms())
def test_forest_is_separate_tries(lists, random):
    rows = [(g, code) for g, codes in enumerate(lists) for code in codes]
    random.shuffle(rows)
    items = random.sample(range(1000), len(rows))
    trie = Trie.build(table([c for _, c in rows]), np.array(items, int), np.array([g for g, _ in rows], int))
    assert trie.n_items == len(rows)
    for g, root in enumerate(trie.roots.tolist()):
        mine = [(code, item) for (group, code), item in zip(rows, items, strict=True) if group == g]
        expected = shortest_prefixes([c for c, _ in mine], [i for _, i in mine]) or {(): -1}
        assert leaves(trie, root) == expected
        assert trie.item[root] == (mine[0][1] if len(mine) == 1 else -1)


@slow_machine
@given(code_sets, st.data())
def test_emptied_nodes_hold_only_excluded_items(codes, data):
    groups = data.draw(st.lists(st.integers(0, 2), min_size=len(codes), max_size=len(codes)))
    trie = Trie.build(table(codes), groups=np.array(groups))
    rows = data.draw(st.lists(st.integers(0, len(trie.roots) - 1), max_size=3))  # the group of each row
    excluded = [data.draw(st.lists(st.integers(-1, len(codes) + 2))) for _ in rows]
    flat = [(row, item) for row, items in enumerate(excluded) for item in items]
    row, node = trie.emptied(
        trie.roots[torch.tensor(rows, dtype=torch.long)],
        torch.tensor([r for r, _ in flat], dtype=torch.long),
        torch.tensor([i for _, i in flat], dtype=torch.long),
    )
    expected = set()
    for r, group in enumerate(rows):
        below: dict[int, set[int]] = {}
        for leaf in range(len(trie.roots), len(trie.token)):
            v = leaf if trie.item[leaf] >= 0 else -1
            while v >= 0:
                below.setdefault(v, set()).add(trie.item[leaf].item())
                v = trie.parent[v].item()
        for v, items in below.items():
            root = v
            while trie.parent[root] >= 0:
                root = trie.parent[root].item()
            if root == trie.roots[group] and items <= set(excluded[r]):
                expected.add((r, v))
    assert set(zip(row.tolist(), node.tolist(), strict=True)) == expected


def built_before(codes: np.ndarray, items: np.ndarray | None, groups: np.ndarray | None) -> dict[str, np.ndarray]:
    """How tries were built at first: columns sorted one after the other, everything int64."""
    n, length = codes.shape
    items = np.arange(n) if items is None else items
    groups = np.zeros(n, np.int64) if groups is None else groups
    n_groups = int(groups.max(initial=0)) + 1
    order = np.lexsort((*codes.T[::-1], groups))
    codes, items, groups = codes[order], items[order], groups[order]
    size, item = [np.bincount(groups, minlength=n_groups)], [np.full(n_groups, -1)]
    item[0][groups] = np.where(size[0][groups] == 1, items, -1)
    token, parent = [np.full(n_groups, -1)], [np.full(n_groups, -1)]
    rows, above, n_nodes = np.arange(n), groups, n_groups
    for t in range(length):
        column = codes[rows, t]
        fresh = np.ones(len(rows), bool)
        fresh[1:] = (above[1:] != above[:-1]) | (column[1:] != column[:-1])
        first, place = np.flatnonzero(fresh), np.cumsum(fresh) - 1
        count = np.diff(first, append=len(rows))
        if ((column[first] == 0) & (count == 1)).any():
            raise ValueError("a code is the beginning of another: codes must end in </s>")
        token.append(column[first])
        parent.append(above[first])
        size.append(count)
        item.append(np.where(count == 1, items[rows[first]], -1))
        shared = count[place] > 1
        rows, above = rows[shared], n_nodes + place[shared]
        n_nodes += len(first)
    if len(rows):
        raise UserError(
            f"item codes: items {items[rows[0]]} and {items[rows[1]]} share the code "
            f"{' '.join(map(str, codes[rows[0]]))}: codes must be distinct"
        )
    parents = np.concatenate(parent)
    children = np.bincount(parents[n_groups:], minlength=n_nodes)
    return {
        "roots": np.arange(n_groups),
        "child_start": (n_groups + np.concatenate([[0], children.cumsum()])).astype(np.int32),
        "token": np.concatenate(token).astype(np.int32),
        "parent": parents.astype(np.int32),
        "size": np.concatenate(size).astype(np.int32),
        "item": np.concatenate(item).astype(np.int32),
    }


def before(*parts) -> dict[str, tuple[str, list]] | tuple[type, str]:
    """What the plain way to build gives: the arrays, with their types, or the error."""
    try:
        return {name: (str(values.dtype), values.tolist()) for name, values in built_before(*parts).items()}
    except (UserError, ValueError) as error:
        return type(error), str(error)


def now(*parts) -> dict[str, tuple[str, list]] | tuple[type, str]:
    """What `Trie.build` gives, likewise."""
    try:
        trie = Trie.build(*parts)
    except (UserError, ValueError) as error:
        return type(error), str(error)
    arrays = {field.name: getattr(trie, field.name).numpy() for field in fields(trie)}
    return {name: (str(values.dtype), values.tolist()) for name, values in arrays.items()}


@slow_machine
@given(st.data())
def test_the_same_trie_or_error_as_before(data):
    """Any rows of numbers: repeated ones, ones that begin others, and too wide ones to be sorted as one number."""
    scale = np.array(data.draw(st.sampled_from([[0, 1, 2, 3], [0, 1, 300, 32_000], [0, 1, 70_000, 2**31 - 1]])))
    n, length = data.draw(st.integers(0, 12)), data.draw(st.integers(1, 5))
    rows = data.draw(st.lists(st.lists(st.integers(0, 3), min_size=length, max_size=length), min_size=n, max_size=n))
    codes = scale[np.array(rows, int).reshape(n, length)]
    given_items = st.permutations(range(100, 100 + n)).map(np.array) | st.none()
    given_groups = (
        st.lists(st.integers(0, 3), min_size=n, max_size=n).map(lambda groups: np.array(groups, int)) | st.none()
    )
    items, groups = data.draw(given_items), data.draw(given_groups)
    parts = codes.astype(data.draw(st.sampled_from([np.int32, np.int64]))), items, groups
    assert now(*parts) == before(*parts)


@pytest.mark.parametrize("spread", [1, 1000, 2_000_000])
def test_the_same_large_trie_as_before(spread):
    rng = np.random.default_rng(spread)
    codes = np.column_stack([spread * rng.integers(1, 40, (20_000, 4)), np.ones(20_000, int)])
    codes = np.unique(codes, axis=0)[rng.permutation(len(np.unique(codes, axis=0)))]
    for parts in ((codes, None, None), (codes, rng.permutation(len(codes)), rng.integers(0, 50, len(codes)))):
        built = now(*parts)
        assert isinstance(built, dict) and built == before(*parts)


def test_no_items():
    trie = Trie.build(np.zeros((0, 3), np.int64))
    assert trie.n_items == 0
    assert leaves(trie, 0) == {(): -1}


def test_a_code_given_twice_is_an_error():
    with pytest.raises(UserError, match=r"items 4 and 6 share the code 2 3 1 0"):
        Trie.build(table([(2, 3, 1), (2, 1), (2, 3, 1), (2, 3, 3, 1)]), np.array([4, 5, 6, 7]))
    two_groups = Trie.build(table([(2, 3, 1), (2, 3, 1)]), groups=np.array([0, 1]))
    assert two_groups.n_items == 2


def test_a_code_that_begins_another_is_refused():
    with pytest.raises(ValueError, match="</s>"):
        Trie.build(np.array([[2, 0], [2, 3]]))


def test_to_device_keeps_everything():
    trie = Trie.build(table([(2, 1), (3, 1)]))
    assert trie.to("cpu") is trie
    assert trie.to("meta").token.device.type == "meta"


def test_fast_enough_to_build_for_every_batch():
    rng = np.random.default_rng(0)
    numbers = rng.permutation(12_000)
    codes = np.stack([np.full(12_000, 50), 100 + numbers // 100, 300 + numbers % 100, np.ones(12_000, int)], axis=1)
    candidates = np.argsort(rng.random((1000, 12_000)), axis=1)[:, :100].ravel()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        trie = Trie.build(codes[candidates], candidates, np.repeat(np.arange(1000), 100))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.2  # 0.01 s on an idle core
    assert trie.n_items == 100_000

    n = 1_000_000
    start = time.perf_counter()
    trie = Trie.build(np.stack([np.arange(n) // 1000 + 40_000, np.arange(n) % 1000 + 2, np.ones(n, int)], axis=1))
    assert time.perf_counter() - start < 2  # 0.1 s on an idle core
    assert trie.n_items == n
    assert sum(t.nbytes for t in (trie.child_start, trie.token, trie.parent, trie.size, trie.item)) < 25 * n
