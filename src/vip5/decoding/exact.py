"""Exact scores of the whole catalogue: every inner node of the trie is a beam, so none is dropped.

A prefix that items share is read once for all of them. Shape suffixes: B rows, I items, N nodes, C children of a node
(padded), D width, K items listed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vip5.data import Ragged
from vip5.decoding.space import CodeSpace
from vip5.decoding.start import begin
from vip5.items.trie import Trie
from vip5.model import VIP5
from vip5.model.backbone import DecoderState, Encoded
from vip5.model.input import ModelInput

ROWS = 32  # that go through the trie together, so that the rows of the head's matrix are looked up once for all
CPU_STATES, GPU_STATES = 2048, 16_384  # rows times nodes at a time; on a CPU, more gain nothing


@torch.no_grad()
def score_items(model: VIP5, batch: ModelInput, trie: Trie) -> Tensor:
    """Log-probability (nats) of every item for every row of a batch, float32 [B, I].

    They are the scores that `beam_search` gives with as many beams as items: renormalised over the tokens that the trie
    allows, so the probabilities of a row sum to 1. The trie has one root, and its items are 0 … I-1 (ValueError).
    Memory beside the result grows with the longest lists of children, not with the number of nodes. The model should be
    in eval mode.
    """
    if not trie.is_catalogue:
        raise ValueError("want a trie of one root whose items are 0 … I-1")
    trie = trie.to(batch.input_ids.device)
    encoded = model.encode(batch)
    score_BI = torch.zeros(len(batch), trie.n_items, device=trie.roots.device)
    for first in range(0, len(batch), ROWS):
        rows = slice(first, first + ROWS)
        part = Encoded(encoded.states_BLD[rows], encoded.mask_BL[rows])
        past_ids = None if batch.past_ids is None else batch.past_ids[rows]
        start = begin(model, replace(batch, input_ids=batch.input_ids[rows], past_ids=past_ids), part)
        _fill(score_BI[rows], model, *start, trie)
    return score_BI


def top_items(score_BI: Tensor, k: int, exclude: Ragged | Sequence[np.ndarray] | None = None) -> tuple[Tensor, Tensor]:
    """The k best items of each row, best first: int64 items and float32 scores, [B, k] each.

    `exclude` holds item ids for each row that must not come out. Where items run out: item -1, score -inf.
    """
    B, n_items = score_BI.shape
    if exclude is not None:
        ragged = exclude if isinstance(exclude, Ragged) else Ragged.from_lists(exclude)
        if len(ragged) != B:
            raise ValueError(f"{B} rows, but {len(ragged)} lists of excluded items")
        rows, items = (torch.from_numpy(x.astype(np.int64)).to(score_BI.device) for x in (ragged.rows, ragged.values))
        known = (items >= 0) & (items < n_items)
        score_BI = score_BI.index_put((rows[known], items[known]), score_BI.new_tensor(-torch.inf))
    score_BK, item_BK = score_BI.topk(min(k, n_items))
    item_BK = item_BK.masked_fill(score_BK.isneginf(), -1)
    missing = (0, k - score_BK.shape[1])
    return F.pad(item_BK, missing, value=-1), F.pad(score_BK, missing, value=-torch.inf)


@dataclass
class _NodeFrontier:
    """Inner nodes still to be read; their parents are beams of `above`."""

    node_N: Tensor
    parent_N: Tensor
    score_BN: Tensor
    above: DecoderState

    def split(self, n: int) -> tuple["_NodeFrontier", "_NodeFrontier"]:
        """The first n nodes and the others."""
        first, rest = (
            _NodeFrontier(self.node_N[part], self.parent_N[part], self.score_BN[:, part], self.above)
            for part in (slice(n), slice(n, None))
        )
        return first, rest


def _fill(score_BI: Tensor, model: VIP5, start: DecoderState, first_B1: Tensor, trie: Trie) -> None:
    """Write the scores of all items, a few nodes at a time and what is below them first: so few states are alive."""
    B, device, space = len(score_BI), score_BI.device, CodeSpace(trie, len(score_BI))
    # Where nothing is written yet, all rows take the same steps: what does not look at the input is worked out once.
    if not start.length:
        first_B1 = first_B1[:1]
    width = max(1, (CPU_STATES if device.type == "cpu" else GPU_STATES) // B)
    root_N = trie.roots
    todo = [_NodeFrontier(root_N, torch.zeros_like(root_N), score_BI.new_zeros(B, 1), start)]
    while todo:
        now, rest = todo.pop().split(width)
        if len(rest.node_N):
            todo.append(rest)
        state = now.above.fork(now.parent_N.expand(len(first_B1), -1))
        token_1N = trie.token[now.node_N].long()[None]
        token_BN = first_B1 if now.above is start else token_1N.expand(len(first_B1), -1)  # a root has no token
        h_BND = model.step(token_BN, state)
        inner = []
        for part in _alike(space.n_children(now.node_N)):
            child_P, parent_P, score_BP = _scored_children(
                model, space, now.node_N[part], h_BND[:, part], now.score_BN[:, part]
            )
            leaf_P = trie.item[child_P] >= 0
            score_BI[:, trie.item[child_P[leaf_P]].long()] = score_BP[:, leaf_P]
            inner.append((child_P[~leaf_P], parent_P[~leaf_P] + part.start, score_BP[:, ~leaf_P]))
        node_N, parent_N, score_BN = (torch.cat(x, dim=-1) for x in zip(*inner, strict=True))
        if len(node_N):
            order = space.n_children(node_N).argsort(descending=True)
            todo.append(_NodeFrontier(node_N[order], parent_N[order], score_BN[:, order], state))


def _alike(counts_N: Tensor) -> Iterator[slice]:
    """Runs of nodes whose numbers of children have the same power of two: little padding makes them one table."""
    start = 0
    for _, run in groupby(counts_N.tolist(), key=int.bit_length):
        stop = start + len(list(run))
        yield slice(start, stop)
        start = stop


def _scored_children(
    model: VIP5, space: CodeSpace, node_N: Tensor, h_BND: Tensor, score_BN: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All P children of some nodes [P], the places of their parents among these [P], and their scores [B, P]."""
    child_NC, real_NC = space.children(node_N)
    logits_BNC = model.head(h_BND, space.trie.token[child_NC]).masked_fill_(~real_NC, -torch.inf)
    score_BNC = logits_BNC.log_softmax(dim=-1).add_(score_BN[..., None])
    place_P = real_NC.flatten().nonzero()[:, 0]
    parent_P = place_P // max(1, child_NC.shape[1])
    return child_NC.flatten()[place_P].long(), parent_P, score_BNC.flatten(1)[:, place_P]
