"""The most probable items, exactly, without a look at most of the catalogue: beam search, then branch and bound.

No item is more probable than the nodes above it. So once k items of a row are known, only nodes as probable as the k-th
best of them can lead to a better one. A beam search finds the first k and remembers what it drops; then, level by
level, all dropped nodes that could still matter are read, however many a row has. Zhou & Hansen (2005, "Beam-stack
search") make beam search complete in this way.

Shape suffixes: B rows, P pairs of row and node, G groups of pairs and N members of a group (padded), C children of a
node (padded), D width, K items listed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vip5.data import Ragged
from vip5.decoding.exact import CPU_STATES, GPU_STATES
from vip5.decoding.space import CodeSpace
from vip5.decoding.start import begin
from vip5.items.trie import Trie
from vip5.model import VIP5
from vip5.model.backbone import DecoderState
from vip5.model.input import ModelInput
from vip5.model.ops import AttentionMask

PADDING = 2.0  # groups stand in one table where the largest has at most this many times the members of the smallest
AT_ONCE = 4  # times the states read at a time: so many may be remembered of one level; with more, rows are split


@torch.no_grad()
def best_items(
    model: VIP5,
    batch: ModelInput,
    trie: Trie,
    k: int,
    exclude: Ragged | Sequence[np.ndarray] | None = None,
    roots: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The k most probable items of each row, best first: int64 items and float32 scores (nats), [B, k] each.

    What `top_items` makes of `score_items`: no item is lost, as beams lose some. `exclude` and `roots` are those of
    `beam_search`. Where items run out: item -1, score -inf. The surer the model, the less there is to read. The
    model should be in eval mode.
    """
    search = _BranchAndBound(model, batch, trie.to(batch.input_ids.device), k, exclude, roots)
    search.run()
    return search.lists()


@dataclass
class _PairFrontier:
    """Inner nodes of one level that are still to be read, each for one row."""

    row_P: Tensor
    node_P: Tensor
    score_P: Tensor
    parent_P: Tensor  # the place of the parent's state in `past`
    past: list[Tensor]  # self keys and values [level, states, 2, H, E] of each layer

    def __len__(self) -> int:
        return len(self.row_P)

    def take(self, chosen_P: Tensor) -> "_PairFrontier":
        row_P, node_P, score_P, parent_P = (x[chosen_P] for x in (self.row_P, self.node_P, self.score_P, self.parent_P))
        return _PairFrontier(row_P, node_P, score_P, parent_P, self.past)

    def join(self, other: "_PairFrontier") -> "_PairFrontier":
        """Both in one."""
        if not len(self) or not len(other):
            return self if len(self) else other
        return _PairFrontier(
            torch.cat([self.row_P, other.row_P]),
            torch.cat([self.node_P, other.node_P]),
            torch.cat([self.score_P, other.score_P]),
            torch.cat([self.parent_P, other.parent_P + self.past[0].shape[1]]),
            [torch.cat(layer, dim=1) for layer in zip(self.past, other.past, strict=True)],
        )

    def parents(self, pair_GN: Tensor) -> list[Tensor | None]:
        """The states of these pairs' parents, with room for one step more."""
        level = len(self.past[0])
        chosen: list[Tensor | None] = []
        for past in self.past:
            grown = past.new_empty(level + 1, pair_GN.numel(), *past.shape[2:])
            torch.index_select(past, 1, self.parent_P[pair_GN].flatten(), out=grown[:level])
            chosen.append(grown)
        return chosen


class _BranchAndBound:
    """The best leaves found so far, in any order, and the score that a better one must have in each row."""

    def __init__(
        self,
        model: VIP5,
        batch: ModelInput,
        trie: Trie,
        k: int,
        exclude: Ragged | Sequence[np.ndarray] | None,
        roots: Tensor | None,
    ) -> None:
        B, device = len(batch), trie.roots.device
        self.space = CodeSpace(trie, B, roots, exclude)
        self.model, self.trie, self.k, self.root_B = model, trie, k, self.space.roots_B
        self.banned_BV = self.space.banned()  # V nodes
        self.start, self.first_B1 = begin(model, batch)
        self.states = CPU_STATES if device.type == "cpu" else GPU_STATES
        self.row_P, self.leaf_P = (self.root_B.new_zeros(0) for _ in range(2))
        self.score_P = torch.zeros(0, device=device)
        self.floor_B = torch.full((B,), -torch.inf, device=device)

    def run(self) -> None:
        row_B = torch.arange(len(self.root_B), device=self.root_B.device)
        nothing = self.score_P.new_zeros(0, len(row_B))
        past = [nothing if before is None else before[: self.start.length] for before in self.start.past]
        now, levels = _PairFrontier(row_B, self.root_B, torch.zeros_like(self.floor_B), row_B, past), []
        while len(now):
            beam_P = _places(now.row_P, now.score_P) < self.k
            levels.append(now.take(~beam_P))
            now = self.read(now.take(beam_P))
        self.complete(levels)

    def complete(self, levels: list[_PairFrontier]) -> None:
        """Read all nodes that were left out on each level, the root's first, and all below them."""
        while levels:
            now, *levels = levels
            now = now.take(now.score_P >= self.floor_B[now.row_P])
            if len(now) > AT_ONCE * self.states and now.row_P.min() < now.row_P.max():
                middle = (now.row_P.min() + now.row_P.max()) // 2
                for lower in (True, False):
                    self.complete([x.take((x.row_P <= middle) == lower) for x in (now, *levels)])
                return
            below = self.read(now)
            if levels:
                levels[0] = below.join(levels[0])
            elif len(below):
                levels = [below]

    def read(self, now: _PairFrontier) -> _PairFrontier:
        """Keep the leaves below some nodes if they are among the best; inner nodes that may lead to such are next."""
        if not len(now):
            return now
        pairs, states, places, pasts, n_states = [], [], [], [], 0
        for row_G, pair_GN, real_GN in _tables(now.row_P, self.states):
            state = self.state(row_G, pair_GN, now)
            token_GN = self.trie.token[now.node_P[pair_GN]].long()
            token_GN = torch.where(token_GN < 0, self.first_B1[row_G], token_GN)  # a root has no token
            states.append(self.model.step(token_GN, state)[real_GN])
            pairs.append(pair_GN[real_GN])
            places.append(real_GN.flatten().nonzero()[:, 0] + n_states)
            pasts.append([past[: state.length] for past in state.past if past is not None])
            n_states += real_GN.numel()
        now = now.take(torch.cat(pairs))
        parent_P, child_P, score_P = self.children(now, torch.cat(states))
        leaf_P = self.trie.item[child_P] >= 0
        row_P, inner_P = now.row_P[parent_P], ~leaf_P
        self.keep(row_P[leaf_P], child_P[leaf_P], score_P[leaf_P])
        past = [torch.cat(layer, dim=1) for layer in zip(*pasts, strict=True)]
        below = _PairFrontier(row_P, child_P, score_P, torch.cat(places)[parent_P], past).take(inner_P)
        return below.take(below.score_P >= self.floor_B[below.row_P])

    def state(self, row_G: Tensor, pair_GN: Tensor, now: _PairFrontier) -> DecoderState:
        """Where the parents of some nodes stand."""
        padding = self.start.cross_mask.padding
        assert padding is not None
        keys_values = [(k[row_G], v[row_G]) for k, v in self.start.keys_values]
        state = DecoderState(keys_values, AttentionMask(padding=padding[row_G]), pair_GN.shape[1])
        if level := len(now.past[0]):
            state.length, state.past = level, now.parents(pair_GN)
        return state

    def children(self, now: _PairFrontier, h_PD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Children that may matter of nodes with the states given: their parents' places, themselves, their scores.

        A node that many rows read has its children looked up once for all.
        """
        found = []
        magnitude_P = torch.frexp(self.space.n_children(now.node_P).double()).exponent
        for magnitude in magnitude_P.unique():  # alike numbers of children: little padding makes them one table
            alike_P = (magnitude_P == magnitude).nonzero()[:, 0]
            for node_G, member_GN, real_GN in _tables(now.node_P[alike_P], AT_ONCE * self.states):
                found.append(self.scored_children(now, h_PD, node_G, alike_P[member_GN], real_GN))
        parent_P, child_P, score_P = (torch.cat(x) for x in zip(*found, strict=True))
        return parent_P, child_P, score_P

    def scored_children(
        self, now: _PairFrontier, h_PD: Tensor, node_G: Tensor, pair_GN: Tensor, real_GN: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        child_GC, real_GC = self.space.children(node_G)
        logits_NGC = self.model.head(h_PD[pair_GN].transpose(0, 1), self.trie.token[child_GC])
        logits_PC = logits_NGC.masked_fill_(~real_GC, -torch.inf).transpose(0, 1)[real_GN]
        pair_P, child_PC = pair_GN[real_GN], child_GC.repeat_interleave(real_GN.sum(dim=1), dim=0)
        row_P, score_PC = now.row_P[pair_P], logits_PC.log_softmax(dim=-1).add_(now.score_P[pair_P, None])
        score_PC.masked_fill_(self.banned_BV[row_P[:, None], child_PC], -torch.inf)
        floor_P = self.floor_B[row_P]
        if child_PC.shape[1] > self.k:  # these k leaves of one node are a bound already
            leaf_PC = score_PC.masked_fill(self.trie.item[child_PC] < 0, -torch.inf)
            floor_P = torch.maximum(floor_P, leaf_PC.topk(self.k).values[:, -1])
        place, choice = ((score_PC >= floor_P[:, None]) & ~score_PC.isneginf()).nonzero(as_tuple=True)
        return pair_P[place], child_PC[place, choice].long(), score_PC[place, choice]

    def keep(self, row_P: Tensor, leaf_P: Tensor, score_P: Tensor) -> None:
        """The k best of each row, of what was found before and now."""
        row_P, leaf_P = torch.cat([self.row_P, row_P]), torch.cat([self.leaf_P, leaf_P])
        score_P = torch.cat([self.score_P, score_P])
        place_P = _places(row_P, score_P)
        best_P, last_P = place_P < self.k, place_P == self.k - 1
        self.row_P, self.leaf_P, self.score_P = row_P[best_P], leaf_P[best_P], score_P[best_P]
        self.floor_B[row_P[last_P]] = score_P[last_P]

    def lists(self) -> tuple[Tensor, Tensor]:
        """Items and scores [B, k], best first."""
        item_BK = self.root_B.new_full((len(self.root_B), self.k), -1)
        score_BK = self.score_P.new_full(item_BK.shape, -torch.inf)
        at = self.row_P, _places(self.row_P, self.score_P)
        item_BK[at], score_BK[at] = self.trie.item[self.leaf_P].long(), self.score_P
        return item_BK, score_BK


def _places(row_P: Tensor, score_P: Tensor) -> Tensor:
    """How many of the same row are better than each."""
    order_P = score_P.argsort(descending=True)
    order_P = order_P[row_P[order_P].argsort(stable=True)]
    count_B = torch.bincount(row_P)
    place_P = torch.empty_like(order_P)
    place_P[order_P] = torch.arange(len(order_P), device=row_P.device) - (count_B.cumsum(0) - count_B)[row_P[order_P]]
    return place_P


def _tables(group_P: Tensor, cells: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Groups of about the same size as tables: the groups [G], members [G, N], and which of these are not padding."""
    order_P = group_P.argsort(stable=True)
    group_G, count_G = group_P[order_P].unique_consecutive(return_counts=True)
    start_G, largest_G = count_G.cumsum(0) - count_G, count_G.argsort(descending=True)
    counts, first = count_G[largest_G].tolist(), 0
    while first < len(counts):
        N, stop = counts[first], first + 1
        while stop < len(counts) and counts[stop] * PADDING >= N and (stop + 1 - first) * N <= cells:
            stop += 1
        chosen_G, place_N = largest_G[first:stop], torch.arange(N, device=group_P.device)
        last_G1 = count_G[chosen_G, None] - 1
        member_GN = order_P[start_G[chosen_G, None] + torch.minimum(place_N, last_G1)]
        yield group_G[chosen_G], member_GN, place_N <= last_G1
        first = stop
