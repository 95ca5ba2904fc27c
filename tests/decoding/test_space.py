"""What a space allows, node by node, against tries of dictionaries."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vip5.data import Ragged
from vip5.decoding import CodeSpace, TextSpace
from vip5.items.trie import Trie
from vip5.model.input import EOS, PAD

VOCAB = 9
Code = tuple[int, ...]
one_code = st.lists(st.integers(2, VOCAB - 1), max_size=4).map(lambda word: (*word, EOS))
code_lists = st.lists(st.lists(one_code, min_size=1, max_size=15, unique=True), min_size=1, max_size=3)


class Flat:
    """A head with the same logit for every token."""

    def head(self, h: Tensor, tokens: Tensor | None = None) -> Tensor:
        n = VOCAB if tokens is None else tokens.shape[-1]
        return torch.zeros(*h.shape[:-1], n)


FLAT: Any = Flat()


def table(codes: list[Code]) -> np.ndarray:
    width = max(map(len, codes))
    return np.array([(*code, *[PAD] * (width - len(code))) for code in codes])


def forest(lists: list[list[Code]]) -> tuple[Trie, list[dict[Code, list[int]]]]:
    """Lists of codes, a root for each; and for each list the items below every prefix, as dictionaries have them."""
    codes = [code for mine in lists for code in mine]
    groups = np.repeat(np.arange(len(lists)), [len(mine) for mine in lists])
    below: list[dict[Code, list[int]]] = [{} for _ in lists]
    for item, (group, code) in enumerate(zip(groups, codes, strict=True)):
        for length in range(len(code) + 1):
            below[group].setdefault(code[:length], []).append(item)
    return Trie.build(table(codes), groups=groups), below


def next_tokens(below: dict[Code, list[int]], prefix: Code) -> list[int]:
    """In order; none where one item is left, whose code is then certain."""
    if prefix and len(below[prefix]) == 1:
        return []
    return sorted({code[len(prefix)] for code in below if len(code) > len(prefix) and code[: len(prefix)] == prefix})


def walk(space: CodeSpace, row: int, below: dict[Code, list[int]]) -> dict[int, Code]:
    """The prefix that leads to each node below a row's root, as `start`, `children` and `follow` lead there."""
    prefix_of, todo = {int(space.start()[row, 0]): ()}, [int(space.start()[row, 0])]
    while todo:
        node = todo.pop()
        child_1C, real_1C = space.children(torch.tensor([node]))
        children = child_1C[real_1C].tolist()
        assert len(children) == int(space.n_children(torch.tensor(node)))
        assert (child_1C[~real_1C] == space.trie.child_start[node]).all()
        choice_1C = torch.arange(len(children))[None]
        found = space.follow(torch.full_like(choice_1C, node), choice_1C, len(prefix_of[node]) + 1)
        for child, followed, token, item, ends in zip(children, *(x[0].tolist() for x in found), strict=True):
            prefix = (*prefix_of[node], token)
            assert child == followed and ends == (len(below[prefix]) == 1)
            assert item == (below[prefix][0] if ends else -1)
            prefix_of[child] = prefix
            if not ends:
                todo.append(child)
        assert [prefix_of[child][-1] for child in children] == next_tokens(below, prefix_of[node])
    return prefix_of


@given(code_lists, st.data())
def test_children_and_bans_equal_those_of_dictionaries(lists, data):
    trie, below = forest(lists)
    n = sum(map(len, lists))
    groups = data.draw(st.lists(st.integers(0, len(lists) - 1), min_size=1, max_size=4))
    exclude = [np.array(data.draw(st.lists(st.integers(-1, n + 1))), int) for _ in groups]
    space = CodeSpace(trie, len(groups), trie.roots[groups], exclude)
    banned_BN = space.banned()
    for row, group in enumerate(groups):
        out = set(exclude[row].tolist())
        prefix_of = walk(space, row, below[group])
        allowed = {node for node, prefix in prefix_of.items() if set(below[group][prefix]) - out}
        assert len(prefix_of) >= len(lists[group])
        assert {node for node in prefix_of if not banned_BN[row, node]} == allowed
        assert not banned_BN[row].sum() - banned_BN[row, list(prefix_of)].sum()  # nothing of the other trees
        for node, prefix in prefix_of.items():
            first, count = int(trie.child_start[node]), int(space.n_children(torch.tensor(node)))
            scores = space_scores(space, row, node)
            held = [child for child in range(first, first + count) if child in allowed]
            assert [first + choice for choice in scores.isfinite().nonzero()[:, 0].tolist()] == held, prefix
            assert scores[scores.isfinite()].tolist() == pytest.approx([-np.log(max(count, 1)) - 2] * len(held))


def space_scores(space: CodeSpace, row: int, node: int) -> Tensor:
    """Scores [M] of what may follow one node, where the other rows stand at their roots, and the beam's is -2."""
    node_B1 = space.start().clone()
    node_B1[row] = node
    return space.extend(FLAT, torch.zeros(*node_B1.shape, 1), node_B1, torch.full(node_B1.shape, -2.0))[row, 0]


def test_a_case_by_hand():
    """Codes 2 3, 2 4 and 5, of which 2 3 and 2 4 are excluded in the second row: nothing is left below 2."""
    trie = Trie.build(table([(2, 3, EOS), (2, 4, EOS), (5, EOS)]))
    space = CodeSpace(trie, 2, exclude=Ragged.from_lists([[], [0, 1]]))
    node_B1 = space.start()
    assert node_B1.tolist() == [[0], [0]]
    scores = space.extend(FLAT, torch.zeros(2, 1, 1), node_B1, torch.zeros(2, 1)).exp()
    assert scores.tolist() == [[[0.5, 0.5]], [[0.0, 0.5]]]
    node, token, item, ends = space.follow(node_B1.expand(2, 2), torch.tensor([[0, 1]] * 2), 1)
    assert token.tolist() == [[2, 5]] * 2 and item.tolist() == [[-1, 2]] * 2 and ends.tolist() == [[False, True]] * 2
    assert space.banned().nonzero().tolist() == [
        [1, int(node[1, 0])],
        *([1, int(c)] for c in space.children(node[1])[0][0]),
    ]


def test_rows_roots_and_lists_must_be_as_many():
    trie = Trie.build(table([(2, EOS), (3, EOS)]))
    with pytest.raises(ValueError, match="3 rows, but 1 roots and 3 lists"):
        CodeSpace(trie, 3, trie.roots)
    with pytest.raises(ValueError, match="3 rows, but 3 roots and 2 lists"):
        CodeSpace(trie, 3, exclude=[np.array([0])] * 2)


def test_free_text_allows_every_token_until_its_end():
    space = TextSpace(rows=2, max_length=3, device=torch.device("cpu"), head=FLAT.head)
    assert space.start().tolist() == [[PAD], [PAD]]
    scores = space.extend(FLAT, torch.zeros(2, 1, 1), space.start(), torch.full((2, 1), -1.0))
    torch.testing.assert_close(scores, torch.full((2, 1, VOCAB), -1 - float(np.log(VOCAB))))
    choice = torch.tensor([[EOS, 7], [4, 5]])
    for length, ends in ((1, [[True, False], [False, False]]), (3, [[True, True], [True, True]])):
        node, token, item, ended = space.follow(torch.zeros_like(choice), choice, length)
        assert node.tolist() == token.tolist() == choice.tolist() and ended.tolist() == ends
        assert item.tolist() == [[-1, -1]] * 2
