"""The loss of a batch: of items by the choices that decoding has, of text by its tokens.

Shape suffixes: B rows, T target tokens, S items of a row, N items or tokens of all rows, D width, M choices, K
negatives.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vip5.decoding import CodeSpace
from vip5.items import Trie
from vip5.model import VIP5, ModelInput
from vip5.model.input import PAD
from vip5.model.ops import Packing, sampled_softmax


@dataclass
class ItemTargets:
    """Prompts, and the items that each row's target writes one after the other.

    `batch.target_ids` are the codes of `items_BS` without `</s>` between them.
    """

    batch: ModelInput
    items_BS: Tensor  # int64, -1 after a row's last one
    among_BC: Tensor | None = None  # int64, -1 after the last: the items that a prompt shows, one of which is right


class ItemLoss:
    """-log p of an item (nats), where p is what decoding gives it: at each token the softmax over what the trie allows.

    negatives: where every item has one token, the softmax is over the right item and so many others, drawn uniformly
    and shared by a batch (none: over all). There too, a choice is one of the prompt's candidates; of longer codes, it
    is one of all items.
    """

    def __init__(self, trie: Trie, codes: Tensor, negatives: int | None) -> None:
        """codes: int64 [n_items, T], as of `ItemCodes.targets`."""
        self.space, self.node_IT, self.taken_IT = CodeSpace(trie, 1), *trie.paths()
        self.length_I, self.first_I = (codes > 1).sum(dim=1), codes[:, 0]
        self.one_token = self.node_IT.shape[1] == 1 and bool((self.length_I == 1).all())
        few = negatives is None or negatives >= len(codes)
        self.samples_negatives = self.one_token and not few
        self.negatives = negatives or 0

    def __call__(self, model: VIP5, targets: ItemTargets) -> Tensor:
        """The loss of each row, float32 [B]: summed over its items."""
        batch, items_BS = targets.batch, targets.items_BS
        assert batch.target_ids is not None
        packing = Packing(batch.target_ids != PAD, batch.n_target_tokens)
        h_ND = model.states(batch, packing)
        row_N = packing.places_N // batch.target_ids.shape[1]
        item_N = items_BS[items_BS >= 0]
        if targets.among_BC is not None and self.one_token:
            loss_N = self._among(model, h_ND, targets.among_BC, item_N)
        elif self.samples_negatives:
            loss_N = self._sampled(model, h_ND, self.first_I[item_N] - model.config.text_vocab)
        else:
            length_N = self.length_I[item_N]
            first_N = length_N.cumsum(0) - length_N
            item_N = item_N.repeat_interleave(length_N)
            within_N = torch.arange(len(item_N), device=item_N.device) - first_N.repeat_interleave(length_N)
            loss_N = self._of_choices(model, h_ND, item_N, within_N)
        return loss_N.new_zeros(len(items_BS)).index_add(0, row_N, loss_N)

    def _of_choices(self, model: VIP5, h_ND: Tensor, item_N: Tensor, within_N: Tensor) -> Tensor:
        """Of each token; 0 where it is certain."""
        depth = self.node_IT.shape[1]
        at_N = within_N.clamp(max=depth - 1)
        node_N, taken_N = self.node_IT[item_N, at_N], self.taken_IT[item_N, at_N]
        open_N = ((within_N < depth) & (node_N >= 0)).nonzero()[:, 0]
        logp_NM = self.space.log_probabilities(model, h_ND[open_N][None], node_N[open_N][None])[0]
        loss_N = -logp_NM.gather(1, taken_N[open_N][:, None])[:, 0]
        return loss_N.new_zeros(len(item_N)).index_add(0, open_N, loss_N)

    def _among(self, model: VIP5, h_BD: Tensor, among_BC: Tensor, item_B: Tensor) -> Tensor:
        """Of one item a row, among those that its prompt shows."""
        logits_BC = model.head(h_BD, self.first_I[among_BC.clamp(min=0)]).masked_fill(among_BC < 0, -torch.inf)
        place_B = (among_BC == item_B[:, None]).int().argmax(dim=1)
        return F.cross_entropy(logits_BC, place_B, reduction="none")

    def _sampled(self, model: VIP5, h_ND: Tensor, right_N: Tensor) -> Tensor:
        with torch.autocast(h_ND.device.type, enabled=False):
            h_ND = h_ND.float()
            drawn_K = torch.randint(model.config.new_tokens, (self.negatives,)).to(h_ND.device)
            rows = model.written(model.rows(torch.cat([right_N, drawn_K])))
            right_ND, wrong_KD = rows.split([len(right_N), len(drawn_K)])
            return sampled_softmax(h_ND, (h_ND * right_ND).sum(-1), wrong_KD, drawn_K == right_N[:, None])
