"""What may follow the beams: the scores of the trie's children, against a loop over nodes and children."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vip5.decoding.space import CLOSE, CodeSpace
from vip5.items.trie import Trie

WIDTH = 6


class Head:
    """A random head over so many tokens, with the model's face."""

    def __init__(self, tokens: int) -> None:
        self.rows = torch.randn(tokens, WIDTH, generator=torch.Generator().manual_seed(tokens))

    def head(self, h: Tensor, tokens: Tensor) -> Tensor:
        return h @ self.rows[tokens].T


def codes_within(tokens: np.ndarray, lengths: list[int], n: int, seed: int) -> np.ndarray:
    """Distinct codes whose t-th token is one of the first `lengths[t]` of `tokens`; </s> at the end."""
    rng = np.random.default_rng(seed)
    codes = np.unique(np.column_stack([rng.choice(tokens[:length], n) for length in lengths]), axis=0)
    return np.column_stack([codes, np.ones(len(codes), int)])


def by_loop(trie: Trie, model: Head, h_BKD: Tensor, node_BK: Tensor, score_BK: Tensor, banned: set) -> list[list[dict]]:
    """For each beam, the score of each child of its node."""
    scores: list[list[dict]] = []
    for row, nodes in enumerate(node_BK.tolist()):
        scores.append([])
        for beam, node in enumerate(nodes):
            children = range(trie.child_start[node], trie.child_start[node + 1])
            logits = model.rows[trie.token[list(children)].long()] @ h_BKD[row, beam]
            logs = (logits.double().log_softmax(0) + score_BK[row, beam]).tolist()
            held = {child: score for child, score in zip(children, logs, strict=True) if (row, child) not in banned}
            scores[-1].append(held)
    return scores


@pytest.mark.parametrize("kind", ["one codebook", "far apart", "few children", "many roots"])
@pytest.mark.parametrize("beams", [1, 7])
def test_scores_of_children_equal_those_of_a_loop(kind, beams):
    rng = np.random.default_rng(beams)
    spread = rng.permutation(20 * CLOSE)[:200] + 2
    codes = {
        "one codebook": codes_within(np.arange(40, 40 + CLOSE), [CLOSE, CLOSE, 3], 3000, 0),
        "far apart": codes_within(spread, [200, 30, 30], 3000, 1),
        "few children": codes_within(spread, [3, 2, 2, 2, 2], 3000, 2),
        "many roots": codes_within(spread, [50, 4], 150, 3),
    }[kind]
    groups = rng.integers(0, 9, len(codes)) if kind == "many roots" else None
    trie, model = Trie.build(codes, groups=groups), Head(21 * CLOSE)
    levels = [trie.roots]
    while len(below := torch.isin(trie.parent, levels[-1]).nonzero()[:, 0]):
        levels.append(below)
    for level in levels:
        for rows in (1, 5):
            node_BK = level[torch.from_numpy(rng.integers(0, len(level), (rows, beams)))]
            node_BK[-1, -1] = level[-1]  # the catalogue's end
            h_BKD, score_BK = torch.randn(rows, beams, WIDTH), -torch.rand(rows, beams)
            roots = node_BK[:, 0]
            while (trie.parent[roots] >= 0).any():
                roots = torch.where(trie.parent[roots] >= 0, trie.parent[roots], roots)
            exclude = [rng.choice(len(codes), len(codes) // 3, replace=False) for _ in range(rows)]
            space = CodeSpace(trie, rows, roots.long(), exclude)
            found_BKM = space.extend(model, h_BKD, node_BK, score_BK)
            banned = set(map(tuple, space.banned().nonzero().tolist()))
            expected = by_loop(trie, model, h_BKD, node_BK, score_BK, banned)
            for row in range(rows):
                for beam in range(beams):
                    node, held = int(node_BK[row, beam]), expected[row][beam]
                    first = int(trie.child_start[node])
                    got = {first + m: s for m, s in enumerate(found_BKM[row, beam].tolist()) if s > -np.inf}
                    assert got == pytest.approx(held, abs=1e-5)
