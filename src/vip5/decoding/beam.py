"""Beam search over the trie of item codes, where no invalid or repeated item can come out, or over free text.

The algorithm is that of transformers' `generate(num_beams=K)`: each step takes the 2K best continuations of a row;
those that end among the first K are kept as finished, the K best others run on. Shape suffixes: B rows, K beams, M
choices of a beam, C continuations taken, T tokens so far, D width, V tokens, P pairs of row and node.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vip5.data import Ragged
from vip5.items.trie import Trie
from vip5.model import VIP5
from vip5.model.input import EOS, PAD, ModelInput

CLOSE = (
    256  # tokens lie close together where they span at most so many, the size of a codebook, or 4 times the widest beam
)


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
) -> Beams:
    """The `beams` most probable items of the trie, or sentences where there is no trie, for every row of a batch.

    With a trie, probabilities are renormalised over the tokens it allows, so those of all items of a root sum to 1.
    `roots` [B] are the nodes where the rows start (`trie.roots[groups]`; by default all at the first root). `exclude`
    holds item ids for each row that must not come out; the probabilities of the others stay what they are.
    Free text ends with </s> or after `max_length` tokens, and its scores are divided by length ** `length_penalty`, as
    with transformers' `max_new_tokens` and `early_stopping=False`. The model should be in eval mode.
    """
    B, K, device = len(batch), beams, batch.input_ids.device
    if trie is None:
        space: _Items | _Text = _Text(max_length)
    elif length_penalty:
        raise ValueError("items are compared by probability: no length_penalty with a trie")
    else:
        space = _Items(trie.to(device), roots, exclude, B)
    state = model.start(model.encode(batch), 1)

    # One beam at first; as many as there are continuations, up to K, later.
    node_BK, score_BK = space.start(B, device), torch.zeros(B, 1, device=device)
    tokens_BKT = torch.full((B, 1, 1), PAD, device=device)
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


class _Text:
    """Every token may follow every other; a "node" is the token that led there."""

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length

    def start(self, B: int, device: torch.device) -> Tensor:
        return torch.full((B, 1), PAD, device=device)

    def extend(self, model: VIP5, h_BKD: Tensor, node_BK: Tensor, score_BK: Tensor) -> Tensor:
        """Scores [B, K, M] of all continuations of beams with the states, nodes and scores given."""
        return model.head(h_BKD).log_softmax(-1).add_(score_BK[..., None])

    def follow(self, node_BC: Tensor, choice_BC: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The choice_BC-th continuation of node_BC: its node, token, item, and whether it ends."""
        ends_BC = (choice_BC == EOS) | (length == self.max_length)
        return choice_BC, choice_BC, torch.full_like(choice_BC, -1), ends_BC


class _Items:
    """The children of a node of the trie may follow it, less those below which everything is excluded."""

    def __init__(self, trie: Trie, roots: Tensor | None, exclude: Ragged | Sequence[np.ndarray] | None, B: int) -> None:
        self.trie, device = trie, trie.roots.device
        self.roots_B = trie.roots[:1].expand(B) if roots is None else roots.to(device)
        if exclude is None:
            exclude = Ragged.from_lists([[]] * B)
        elif not isinstance(exclude, Ragged):
            exclude = Ragged.from_lists(exclude)
        if not len(exclude) == len(self.roots_B) == B:
            raise ValueError(f"{B} rows, but {len(self.roots_B)} roots and {len(exclude)} lists of excluded items")
        rows, items = (torch.from_numpy(x.astype(np.int64)).to(device) for x in (exclude.rows, exclude.values))
        self.banned_row, self.banned_node = trie.emptied(self.roots_B, rows, items)

    def start(self, B: int, device: torch.device) -> Tensor:
        return self.roots_B[:, None]

    def extend(self, model: VIP5, h_BKD: Tensor, node_BK: Tensor, score_BK: Tensor) -> Tensor:
        """As `_Text.extend`; -inf for what the trie or `exclude` does not allow."""
        trie = self.trie
        first_BK = trie.child_start[node_BK]
        count_BK = trie.child_start[node_BK + 1] - first_BK
        # Nothing may follow a leaf. It passes for the widest node, so that no mask is needed for its sake.
        leaf_BK, widest = count_BK == 0, count_BK.argmax()
        score_BK = score_BK.masked_fill(leaf_BK, -torch.inf)
        first_BK, count_BK = (torch.where(leaf_BK, x_BK.flatten()[widest], x_BK) for x_BK in (first_BK, count_BK))
        first, last, fewest, M = (int(x) for x in torch.stack([*first_BK.aminmax(), *count_BK.aminmax()]).tolist())
        if not M:
            return score_BK[..., None]
        if first == last:  # all at one node, as at the root: its children are a slice
            logits_BKM = model.head(h_BKD, trie.token[first : first + M])
        else:
            logits_BKM = self._logits(model, h_BKD, first_BK, count_BK, last, M)
        if fewest < M:
            open_M2 = torch.zeros(2 * M, device=h_BKD.device)
            open_M2[M:] = -torch.inf  # M of these numbers, from M - n on: n zeros, and -inf after them
            logits_BKM = logits_BKM + _windows(open_M2, M - count_BK, M)
        score_BKM = logits_BKM.log_softmax(-1).add_(score_BK[..., None])
        if len(self.banned_row):
            at_PK = node_BK[self.banned_row] == trie.parent[self.banned_node][:, None]
            pair, beam = at_PK.nonzero(as_tuple=True)
            row, node = self.banned_row[pair], self.banned_node[pair]
            score_BKM[row, beam, node - trie.child_start[trie.parent[node]]] = -torch.inf
        return score_BKM

    def _logits(self, model: VIP5, h_BKD: Tensor, first_BK: Tensor, count_BK: Tensor, last: int, M: int) -> Tensor:
        """Logits of own tokens of each beam, by way of tokens that any beam allows; anything beyond the last child.

        One dense product and a gather: on CPU about as fast for candidate lists, and some ten times faster for running
        beams, than reading a row of the head's matrix for each logit. Tokens close together, as those of one codebook
        are, need no look for which of them are allowed.
        """
        token, device = self.trie.token, h_BKD.device
        low, high = torch.stack([token[first_BK].min(), token[first_BK + count_BK - 1].max()]).tolist()
        span = high - low + 1
        if last + M <= len(token):
            token_BKM = _windows(token, first_BK, M)
        else:
            token_BKM = token[(first_BK[..., None] + torch.arange(M, device=device)).clamp_(max=len(token) - 1)]
        place_BKM = token_BKM.long().sub_(low).clamp_(0, span - 1)
        allowed_V = torch.arange(span, device=device)
        if span > max(CLOSE, 4 * M):
            beyond_BKM = torch.arange(M, device=device) >= count_BK[..., None]
            place_N = place_BKM.masked_fill_(beyond_BKM, 0).flatten()
            seen_V = torch.zeros(span, dtype=torch.bool, device=device).index_fill_(0, place_N, True)
            allowed_V = seen_V.nonzero()[:, 0]
            place_BKM = (seen_V.cumsum(0) - 1).index_select(0, place_N).view_as(place_BKM)
        return model.head(h_BKD, allowed_V + low).gather(-1, place_BKM)

    def follow(self, node_BC: Tensor, choice_BC: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `_Text.follow`; a node with a single item is its end."""
        node_BC = (self.trie.child_start[node_BC] + choice_BC).clamp(max=len(self.trie.token) - 1)
        item_BC = self.trie.item[node_BC].long()
        return node_BC, self.trie.token[node_BC].long(), item_BC, item_BC >= 0


def _windows(values: Tensor, start_BK: Tensor, M: int) -> Tensor:
    """M neighbouring values from each start on, [B, K, M]: copied whole, much faster than one by one."""
    return values.unfold(0, M, 1).index_select(0, start_BK.flatten()).view(*start_BK.shape, M)
