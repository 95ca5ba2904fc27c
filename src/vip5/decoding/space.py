"""What may follow what in a search: the tokens of item codes, by their trie, or any token of free text.

Shape suffixes: B rows, K beams, M choices of a beam, C continuations taken or children of a node (padded), D width, V
tokens, N nodes, P pairs of row and node.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vip5.data import Ragged
from vip5.items.trie import Trie
from vip5.model import VIP5
from vip5.model.input import EOS, PAD

# Tokens lie close together where they span at most so many, the size of a codebook, or 4 times the widest beam.
CLOSE = 256


class DecodingSpace(Protocol):
    """Nodes, and the choices that lead from one to the next. A beam stands at a node."""

    def start(self) -> Tensor:
        """The node [B, 1] where each row starts, int64."""
        ...

    def extend(self, model: VIP5, h_BKD: Tensor, node_BK: Tensor, score_BK: Tensor) -> Tensor:
        """Scores [B, K, M] of all continuations of beams with the states, nodes and scores (nats) given.

        -inf stands for what may not follow. Of the model, only `head` is used.
        """
        ...

    def follow(self, node_BC: Tensor, choice_BC: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The choice_BC-th continuation of node_BC, the `length`-th token: node, token, item or -1, whether it ends."""
        ...


class TextSpace:
    """Free text: every token that `head` gives a logit may follow every other; a "node" is the token that led there."""

    def __init__(self, rows: int, max_length: int, device: torch.device, head: Callable[[Tensor], Tensor]) -> None:
        self.rows, self.max_length, self.device, self.head = rows, max_length, device, head

    def start(self) -> Tensor:
        return torch.full((self.rows, 1), PAD, device=self.device)

    def extend(self, model: VIP5, h_BKD: Tensor, node_BK: Tensor, score_BK: Tensor) -> Tensor:
        return self.head(h_BKD).log_softmax(-1).add_(score_BK[..., None])

    def follow(self, node_BC: Tensor, choice_BC: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As of `DecodingSpace`; a sentence ends with </s> or at its greatest length."""
        ends_BC = (choice_BC == EOS) | (length == self.max_length)
        return choice_BC, choice_BC, torch.full_like(choice_BC, -1), ends_BC


class CodeSpace:
    """Item codes: the children of a node of the trie may follow it, less those below which everything is excluded.

    `rows` is B. `roots` [B] are the nodes where the rows start, by default all at the trie's first root. `exclude`
    holds the item ids for each row that must not come out. The space lies on the trie's device.

    Raises: ValueError where rows, roots and lists of excluded items are not as many.
    """

    def __init__(
        self,
        trie: Trie,
        rows: int,
        roots: Tensor | None = None,
        exclude: Ragged | Sequence[np.ndarray] | None = None,
    ) -> None:
        self.trie, device = trie, trie.roots.device
        self.roots_B = trie.roots[:1].expand(rows) if roots is None else roots.to(device)
        if exclude is None:
            exclude = Ragged.from_lists([[]] * rows)
        elif not isinstance(exclude, Ragged):
            exclude = Ragged.from_lists(exclude)
        if not len(exclude) == len(self.roots_B) == rows:
            raise ValueError(f"{rows} rows, but {len(self.roots_B)} roots and {len(exclude)} lists of excluded items")
        row_P, item_P = (torch.from_numpy(x.astype(np.int64)).to(device) for x in (exclude.rows, exclude.values))
        self.banned_row_P, self.banned_node_P = trie.emptied(self.roots_B, row_P, item_P)

    def banned(self) -> Tensor:
        """Bool [B, N]: the nodes of the trie at and below which everything is excluded in a row."""
        banned_BN = torch.zeros(len(self.roots_B), len(self.trie.token), dtype=torch.bool, device=self.roots_B.device)
        banned_BN[self.banned_row_P, self.banned_node_P] = True
        return banned_BN

    def n_children(self, node_N: Tensor) -> Tensor:
        """How many children some nodes have, the banned ones among them; int32 of the shape of `node_N`."""
        return self.trie.child_start[node_N + 1] - self.trie.child_start[node_N]

    def children(self, node_N: Tensor) -> tuple[Tensor, Tensor]:
        """The children [N, C] of nodes [N], padded with the first one, and which of these are no padding (bool)."""
        first_N1, end_N1 = self.trie.child_start[node_N][:, None], self.trie.child_start[node_N + 1][:, None]
        child_NC = first_N1 + torch.arange(int((end_N1 - first_N1).max()), device=node_N.device)
        real_NC = child_NC < end_N1
        return torch.where(real_NC, child_NC, first_N1), real_NC

    def start(self) -> Tensor:
        return self.roots_B[:, None]

    def extend(self, model: VIP5, h_BKD: Tensor, node_BK: Tensor, score_BK: Tensor) -> Tensor:
        trie = self.trie
        score_BK = score_BK.masked_fill(self.n_children(node_BK) == 0, -torch.inf)
        score_BKM = self.log_probabilities(model, h_BKD, node_BK)
        if not score_BKM.shape[-1]:
            return score_BK[..., None]
        score_BKM = score_BKM.add_(score_BK[..., None])
        if len(self.banned_row_P):
            at_PK = node_BK[self.banned_row_P] == trie.parent[self.banned_node_P][:, None]
            pair, beam = at_PK.nonzero(as_tuple=True)
            row, node = self.banned_row_P[pair], self.banned_node_P[pair]
            score_BKM[row, beam, node - trie.child_start[trie.parent[node]]] = -torch.inf
        return score_BKM

    def log_probabilities(self, model: VIP5, h_BKD: Tensor, node_BK: Tensor) -> Tensor:
        """Log-probabilities [B, K, M] of the children of nodes, by the states there, among all of a node's children.

        -inf stands beyond a node's last child. A node without children may give anything.
        """
        trie = self.trie
        first_BK = trie.child_start[node_BK]
        count_BK = trie.child_start[node_BK + 1] - first_BK
        # A leaf passes for the widest node, so that no mask is needed for its sake.
        leaf_BK, widest = count_BK == 0, count_BK.argmax()
        first_BK, count_BK = (torch.where(leaf_BK, x_BK.flatten()[widest], x_BK) for x_BK in (first_BK, count_BK))
        first, last, fewest, M = (int(x) for x in torch.stack([*first_BK.aminmax(), *count_BK.aminmax()]).tolist())
        if not M:
            return h_BKD.new_zeros(*node_BK.shape, 0)
        if first == last:  # all at one node, as at the root: its children are a slice
            logits_BKM = model.head(h_BKD, trie.token[first : first + M])
        else:
            logits_BKM = self._logits(model, h_BKD, first_BK, count_BK, last, M)
        if fewest < M:
            open_M2 = torch.zeros(2 * M, device=h_BKD.device)
            open_M2[M:] = -torch.inf  # M of these numbers, from M - n on: n zeros, and -inf after them
            logits_BKM = logits_BKM + _windows(open_M2, M - count_BK, M)
        return logits_BKM.log_softmax(-1)

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
        """As of `DecodingSpace`; a node with a single item is its end."""
        node_BC = (self.trie.child_start[node_BC] + choice_BC).clamp(max=len(self.trie.token) - 1)
        item_BC = self.trie.item[node_BC].long()
        return node_BC, self.trie.token[node_BC].long(), item_BC, item_BC >= 0


def _windows(values: Tensor, start_BK: Tensor, M: int) -> Tensor:
    """M neighbouring values from each start on, [B, K, M]: copied whole, much faster than one by one."""
    return values.unfold(0, M, 1).index_select(0, start_BK.flatten()).view(*start_BK.shape, M)
