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
from vip5.baselines.transformer import MASKED, Transformer, like_lengths, padded
from vip5.data import Dataset, Ragged
from vip5.model.ops import cross_entropy
from vip5.training.space import Choice, Real, Space, Whole


class SASRecSettings(LearnedSettings):
    """Settings of `SASRec`."""

    loss: Literal["bce", "ce", "sampled"] = "sampled"
    negatives: int | None = Field(None, ge=1)  # of the sampled softmax; none: 256
    negatives_by: Literal["batch", "position"] = "batch"  # drawn once for all positions of a batch, or for each
    length: int = Field(50, ge=1)  # of a history, the most recent items
    blocks: int = Field(1, ge=1)
    heads: int = Field(1, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "SASRecSettings":
        if self.loss != "sampled" and (self.negatives is not None or self.negatives_by != "batch"):
            raise ValueError("negatives and negatives_by are of loss=sampled alone")
        if self.dim % self.heads:
            raise ValueError("dim must be a multiple of heads")
        return self

    def space(self) -> Space:
        own: Space = {
            "blocks": Whole(1, 3),
            "heads": Choice(tuple(heads for heads in (1, 2, 4) if self.dim % heads == 0)),
            "dropout": Real(0.0, 0.6),
            "weight_decay": Choice((0.0, 1e-6, 1e-5, 1e-4)),
        }
        negatives: Space = {"negatives": Choice((64, None, 1024))} if self.loss == "sampled" else {}
        return {**super().space(), **own, **negatives}


class SASRec(LearnedRanker):
    """The paper's blocks, x + Dropout(g(LayerNorm(x))) for g attention (eq. 2) and feed-forward (eq. 4), section III.

    A score is the product of the last position's output and the item's input vector (eq. 6, shared). Positions are
    counted from the end, as the paper's padding on the left makes them. Loss `bce` is the paper's (section III-E), with
    one negative for each position, outside the user's own items; `ce` is cross-entropy over the whole catalogue;
    `sampled` is over the right item and uniform negatives (Klenitskiy, Vasilev: Turning dross into gold loss, RecSys
    2023).

    Where the paper is silent: vectors start at N(0, 0.02²) and enter times √D, as in the authors' code.
    """

    name = "sasrec"
    source = "Kang and McAuley, ICDM 2018"
    settings_type = SASRecSettings
    cold_users = True
    module: Transformer

    def build(self) -> nn.Module:
        return Transformer(self.n_items, self.settings)

    def batches(self, dataset: Dataset) -> Iterator[Tensor]:
        settings, history = self.settings, dataset.history("train")
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
        k = settings.negatives or 256
        if settings.negatives_by == "batch":
            drawn_K = torch.randint(self.n_items, (k,))
            same_NK = drawn_K == target_N[:, None]
            wrong_NK = h_ND @ F.embedding(drawn_K.to(self.device), table_ID).T
        else:
            drawn_NK = torch.randint(self.n_items, (len(target_N), k))
            same_NK = drawn_NK == target_N[:, None]
            wrong_NK = (F.embedding(drawn_NK.to(self.device), table_ID) @ h_ND[:, :, None]).squeeze(-1)
        wrong_NK = wrong_NK.masked_fill(same_NK.to(self.device), MASKED)
        return (torch.cat([right_N[:, None], wrong_NK], dim=1).logsumexp(dim=1) - right_N).mean()

    def score(self, histories: Ragged, users: Tensor) -> Tensor:
        items_BL, real_BL = padded(histories, self.settings.length)
        h_BLD = self.module(items_BL.to(self.device), real_BL.to(self.device))
        last_B = (real_BL.sum(dim=1) - 1).clamp(min=0).to(self.device)
        return h_BLD[torch.arange(len(last_B), device=self.device), last_B] @ self.module.items.weight.T
