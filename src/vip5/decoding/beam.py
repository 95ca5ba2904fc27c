"""Beam search over the trie of item codes, where no invalid or repeated item can come out, or over free text.

The algorithm is that of transformers' `generate(num_beams=K)`: each step takes the 2K best continuations of a row;
those that end among the first K are kept as finished, the K best others run on. Shape suffixes: B rows, K beams, M
choices of a beam, C continuations taken, T tokens so far, D width, V tokens, P pairs of row and node.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vip5.data import Ragged
from vip5.decoding.space import CodeSpace, DecodingSpace, TextSpace
from vip5.decoding.start import begin
from vip5.items.trie import Trie
from vip5.model import VIP5
from vip5.model.backbone import Encoded
from vip5.model.input import EOS, PAD, ModelInput


@dataclass(frozen=True)
class Beams:
    """The K best of each row, best first. Where there are fewer than K: item -1, score -inf, tokens 0."""

    tokens_BKT: Tensor  # int64; free text with its </s>; of an item's code as much as tells it from all others
    scores_BK: Tensor  # float32; log-probability (nats), divided by length ** length_penalty
    items_BK: Tensor  # int64; -1 for free text


@torch.no_grad()
def beam_search(
    model: VIP5,
    batch: ModelInput,
    *,
    trie: Trie | None = None,
    roots: Tensor | None = None,
    beams: int = 20,
    exclude: Ragged | Sequence[np.ndarray] | None = None,
    length_penalty: float = 0.0,
    max_length: int = 64,
    sentences: bool = False,
) -> Beams:
    """The `beams` most probable items of the trie, or sentences where there is no trie, for every row of a batch.

    With a trie, probabilities are renormalised over the tokens it allows, so those of all items of a root sum to 1.
    `roots` [B] are the nodes where the rows start (`trie.roots[groups]`; by default all at the first root). `exclude`
    holds item ids for each row that must not come out; the probabilities of the others stay what they are.
    Free text ends with </s> or after `max_length` tokens, and its scores are divided by length ** `length_penalty`, as
    with transformers' `max_new_tokens` and `early_stopping=False`; `sentences` leaves out what only items are written
    with (`VIP5.head_of_text`). The model should be in eval mode.
    """
    device = batch.input_ids.device
    if trie is None:
        encoded = model.encode(batch)
        head = partial(model.head_of_text, encoded=encoded) if sentences else model.head
        space = TextSpace(len(batch), max_length, device, head)
        return _search(model, batch, space, beams, length_penalty, encoded)
    if length_penalty:
        raise ValueError("items are compared by probability: no length_penalty with a trie")
    return _search(model, batch, CodeSpace(trie.to(device), len(batch), roots, exclude), beams, 0.0)


def _search(
    model: VIP5,
    batch: ModelInput,
    space: DecodingSpace,
    K: int,
    length_penalty: float,
    encoded: Encoded | None = None,
) -> Beams:
    B, device = len(batch), batch.input_ids.device
    state, token_B1 = begin(model, batch, encoded)
    # One beam at first; as many as there are continuations, up to K, later.
    node_BK, score_BK = space.start(), torch.zeros(B, 1, device=device)
    tokens_BKT = token_B1[..., None]
    done = Beams(tokens_BKT.repeat(1, K, 1), score_BK.new_full((B, K), -torch.inf), node_BK.new_full((B, K), -1))
    open_B1 = torch.ones(B, 1, dtype=torch.bool, device=device)  # can a running beam still come among the K best?
    for length in count(1):
        h_BKD = model.step(tokens_BKT[..., -1], state)
        score_BKM = space.extend(model, h_BKD, node_BK, score_BK)
        M = score_BKM.shape[-1]
        score_BC, choice_BC = score_BKM.flatten(1).topk(min(2 * K, score_BKM[0].numel()))
        parent_BC, choice_BC = choice_BC // M, choice_BC % M
        node_BC, token_BC, item_BC, ends_BC = space.follow(node_BK.gather(1, parent_BC), choice_BC, length)
        tokens_BCT = torch.cat([_pick(tokens_BKT, parent_BC), token_BC[..., None]], dim=-1)

        # Only the first K may end in </s>; an item known before its </s> would run on there, so it may end here.
        first_C = torch.arange(score_BC.shape[1], device=device) < K
        kept_BC = ends_BC & (first_C | (token_BC != EOS)) & open_B1
        ended_BC = (score_BC / length**length_penalty).masked_fill(~kept_BC, -torch.inf)
        done = _best(done, Beams(tokens_BCT, ended_BC, item_BC), K)

        score_BK, order_BK = score_BC.masked_fill(ends_BC, -torch.inf).topk(min(K, score_BC.shape[1]))
        # Scores only fall, so a beam at or below the K-th finished one has no place to come to. With a length penalty
        # that is a guess, which transformers' `early_stopping=False` makes of the best beam for all of its row.
        hopeful_BK = score_BK / length**length_penalty > done.scores_BK[:, -1:]
        if length_penalty:
            hopeful_BK = hopeful_BK[:, :1].expand_as(score_BK)
        width = int(hopeful_BK.sum(dim=1).max())
        if not width:
            break
        open_B1 &= hopeful_BK[:, :1]
        score_BK, order_BK = score_BK[:, :width], order_BK[:, :width]
        node_BK, tokens_BKT = node_BC.gather(1, order_BK), _pick(tokens_BCT, order_BK)
        state.reorder(parent_BC.gather(1, order_BK))
    return _without_empty(done)


def _without_empty(done: Beams) -> Beams:
    """Without the token before the first, and with what `Beams` says where there are fewer than K."""
    none_BK = done.scores_BK.isneginf()
    tokens_BKT = done.tokens_BKT[..., 1:].masked_fill(none_BK[..., None], PAD)
    return Beams(tokens_BKT, done.scores_BK, done.items_BK.masked_fill(none_BK, -1))


def _pick(x_BKT: Tensor, index_BC: Tensor) -> Tensor:
    return x_BKT.gather(1, index_BC[..., None].expand(-1, -1, x_BKT.shape[-1]))


def _best(done: Beams, ended: Beams, K: int) -> Beams:
    """The K best of what was finished before and what ends now, one token longer."""
    tokens_BNT = torch.cat([F.pad(done.tokens_BKT, (0, 1), value=PAD), ended.tokens_BKT], dim=1)
    scores_BK, index_BK = torch.cat([done.scores_BK, ended.scores_BK], dim=1).topk(K)
    items_BK = torch.cat([done.items_BK, ended.items_BK], dim=1).gather(1, index_BK)
    return Beams(_pick(tokens_BNT, index_BK), scores_BK, items_BK)
