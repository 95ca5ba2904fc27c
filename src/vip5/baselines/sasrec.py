"""SASRec: self-attention over what was bought, trained at all positions at once.

W.-C. Kang, J. McAuley: Self-attentive sequential recommendation, ICDM 2018.

Shapes: B sequences, L positions, N real positions of them, D dimensions, K negatives, I items.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from vip5.baselines.learned import Bought, LearnedRanker, LearnedSettings
from vip5.baselines.transformer import SequenceTransformer, like_lengths, padded, with_gaps
from vip5.data import Dataset, Ragged
from vip5.model.ops import cross_entropy, sampled_softmax
from vip5.space import Choice, Real, Space, Whole

_NEGATIVES = 8192  # of the sampled softmax


class SASRecSettings(LearnedSettings):
    """Settings of `SASRec`."""

    averaging: float = Field(0.998, ge=0, lt=1)
    loss: Literal["bce", "ce", "sampled"] = "sampled"
    negatives: int | None = Field(None, ge=1)  # of the sampled softmax, drawn once for a batch; none: 8192
    leave_out: float = Field(0.2, ge=0, lt=1)  # share of a sequence's items that an epoch passes over
    length: int = Field(50, ge=1)  # of a history, the most recent items
    blocks: int = Field(1, ge=1)
    heads: int = Field(1, ge=1)
    dropout: float = Field(0.4, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "SASRecSettings":
        if self.loss != "sampled" and self.negatives is not None:
            raise ValueError("negatives are of loss=sampled alone")
        if self.dim % self.heads:
            raise ValueError("dim must be a multiple of heads")
        return self

    def space(self) -> Space:
        own: Space = {
            "blocks": Whole(1, 3),
            "heads": Choice(tuple(heads for heads in (1, 2, 4) if self.dim % heads == 0)),
            "dropout": Real(0.0, 0.6),
            "leave_out": Real(0.0, 0.6),
            "weight_decay": Choice((0.0, 1e-6, 1e-5, 1e-4)),
        }
        negatives: Space = {"negatives": Choice((256, 2048, None))} if self.loss == "sampled" else {}
        return {**super().space(), **own, **negatives}


class SASRec(LearnedRanker):
    """Blocks of attention (eq. 2) and feed-forward (eq. 4) over the sequence, section III.

    A score is the product of the last position's output and the item's input vector (eq. 6, shared). Positions are
    counted from the end, as the paper's padding on the left makes them. Losses:

    bce      the paper's (section III-E), with one negative for each position, outside the user's own items
    ce       cross-entropy over the whole catalogue
    sampled  cross-entropy over the right item and K uniform negatives (Klenitskiy, Vasilev: Turning dross into gold
             loss, RecSys 2023). They are shared by all positions of a batch, so that many cost no more than a matrix
             product: 8192 were better than 256 or 4096.

    Where the paper is silent: vectors start at N(0, 0.02²) and enter times √D, as in the authors' code. What is ours:
    `leave_out`, by which an epoch passes over a share of the items, so that what comes after the next is learned too.
    """

    name = "sasrec"
    source = "Kang and McAuley, ICDM 2018"
    settings_type = SASRecSettings
    cold_users = True
    module: SequenceTransformer

    def build(self) -> nn.Module:
        return SequenceTransformer(self.n_items, self.settings)

    def batches(self, dataset: Dataset) -> Iterator[Tensor]:
        settings, history = self.settings, with_gaps(dataset.history("train"), self.settings.leave_out)
        rows = np.flatnonzero(history.lengths > 1)
        own = Bought(history, self.n_items) if settings.loss == "bce" else None
        for part in like_lengths(rows, history.lengths, settings.batch_size):
            items_BL, real_BL = padded(history.take(part), settings.length + 1)
            target_BL, real_BL = items_BL[:, 1:], real_BL[:, 1:]
            h_BLD = self.module(items_BL[:, :-1].to(self.device), real_BL.to(self.device))
            h_ND, target_N = h_BLD[real_BL.to(self.device)], target_BL[real_BL]
            user_N = torch.from_numpy(part)[:, None].expand_as(real_BL)[real_BL]
            yield self._loss(h_ND, target_N, user_N, own)

    def _loss(self, h_ND: Tensor, target_N: Tensor, user_N: Tensor, own: "Bought | None") -> Tensor:
        settings, table_ID = self.settings, self.module.items.weight
        target_on = target_N.to(self.device)
        if settings.loss == "ce":
            return cross_entropy(h_ND, [table_ID], target_on).mean()
        right_N = (h_ND * F.embedding(target_on, table_ID)).sum(-1)
        if own is not None:
            wrong_N = (h_ND * F.embedding(own.outside(user_N).to(self.device), table_ID)).sum(-1)
            return (F.softplus(-right_N) + F.softplus(wrong_N)).mean()
        drawn_K = torch.randint(self.n_items, (settings.negatives or _NEGATIVES,))
        wrong_KD = F.embedding(drawn_K.to(self.device), table_ID)
        return sampled_softmax(h_ND, right_N, wrong_KD, (drawn_K == target_N[:, None]).to(self.device)).mean()

    def item_vectors(self) -> Tensor:
        return self.module.items.weight

    def score(self, histories: Ragged, users: Tensor) -> Tensor:
        items_BL, real_BL = padded(histories, self.settings.length)
        h_BLD = self.module(items_BL.to(self.device), real_BL.to(self.device))
        last_B = (real_BL.sum(dim=1) - 1).clamp(min=0).to(self.device)
        return h_BLD[torch.arange(len(last_B), device=self.device), last_B] @ self.module.items.weight.T
