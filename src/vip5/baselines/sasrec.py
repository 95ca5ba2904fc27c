"""SASRec: self-attention over what was bought, trained at all positions at once.

W.-C. Kang, J. McAuley: Self-attentive sequential recommendation, ICDM 2018.

Shapes: B sequences, L positions, N real positions of them, D dimensions, H heads, E = D / H, K negatives, I items.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from vip5.baselines.learned import Bought, LearnedRanker, LearnedSettings
from vip5.data import Dataset, Ragged
from vip5.model.ops import cross_entropy, dropout
from vip5.training.space import Choice, Real, Space, Whole

_SORTED_TOGETHER = 16  # batches whose sequences are sorted by length before they are cut: little padding, still mixed
_MASKED = -1e30


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
    module: "_Transformer"

    def build(self) -> nn.Module:
        return _Transformer(self.n_items, self.settings)

    def batches(self, dataset: Dataset) -> Iterator[Tensor]:
        settings, history = self.settings, dataset.history("train")
        rows = np.flatnonzero(history.lengths > 1)
        own = Bought(history, self.n_items) if settings.loss == "bce" else None
        for part in _like_lengths(rows, history.lengths, settings.batch_size):
            items_BL, real_BL = _padded(history.take(part), settings.length + 1)
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
        wrong_NK = wrong_NK.masked_fill(same_NK.to(self.device), _MASKED)
        return (torch.cat([right_N[:, None], wrong_NK], dim=1).logsumexp(dim=1) - right_N).mean()

    def score(self, histories: Ragged, users: Tensor) -> Tensor:
        items_BL, real_BL = _padded(histories, self.settings.length)
        h_BLD = self.module(items_BL.to(self.device), real_BL.to(self.device))
        last_B = (real_BL.sum(dim=1) - 1).clamp(min=0).to(self.device)
        return h_BLD[torch.arange(len(last_B), device=self.device), last_B] @ self.module.items.weight.T


class _Transformer(nn.Module):
    def __init__(self, n_items: int, settings: Any) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, settings.dim)
        self.positions = nn.Embedding(settings.length, settings.dim)  # 0 is the last one
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList(
            _Block(settings.dim, settings.heads, settings.dropout) for _ in range(settings.blocks)
        )
        self.norm = nn.LayerNorm(settings.dim)
        self.dropout = settings.dropout

    def forward(self, items_BL: Tensor, real_BL: Tensor) -> Tensor:
        """[B, L, D]: what comes after each position; sequences stand on the left."""
        L = items_BL.shape[1]
        place_BL = (real_BL.sum(dim=1, keepdim=True) - 1 - torch.arange(L, device=items_BL.device)).clamp(min=0)
        x_BLD = self.items(items_BL) * math.sqrt(self.items.embedding_dim) + self.positions(place_BL)
        x_BLD = dropout(x_BLD, self.dropout, self.training)
        # Padding stands on the right, where no real position looks.
        mask_LL = torch.full((L, L), _MASKED, device=items_BL.device).triu(1)
        for block in self.blocks:
            x_BLD = block(x_BLD, mask_LL)
        return self.norm(x_BLD)


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, p: float) -> None:
        super().__init__()
        self.heads, self.p = heads, p
        self.norm_attention, self.norm_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x_BLD: Tensor, mask_LL: Tensor) -> Tensor:
        y_BLD = self.norm_attention(x_BLD)
        q_BHLE, k_BHLE, v_BHLE = (
            linear(y_BLD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        scores_BHLL = q_BHLE @ k_BHLE.transpose(2, 3) / math.sqrt(q_BHLE.shape[-1]) + mask_LL
        attended_BHLE = dropout(scores_BHLL.softmax(dim=-1), self.p, self.training) @ v_BHLE
        x_BLD = x_BLD + dropout(attended_BHLE.transpose(1, 2).flatten(2), self.p, self.training)
        y_BLD = dropout(F.relu(self.inner(self.norm_forward(x_BLD))), self.p, self.training)
        return x_BLD + dropout(self.outer(y_BLD), self.p, self.training)


def _like_lengths(rows: np.ndarray, lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """The rows in an order drawn anew, cut into batches of rows of like length."""
    rows = rows[torch.randperm(len(rows)).numpy()]
    batches = []
    for start in range(0, len(rows), size * _SORTED_TOGETHER):
        part = rows[start : start + size * _SORTED_TOGETHER]
        part = part[np.argsort(-lengths[part], kind="stable")]
        batches += [part[at : at + size] for at in range(0, len(part), size)]
    return [batches[n] for n in torch.randperm(len(batches)).tolist()]


def _padded(rows: Ragged, length: int) -> tuple[Tensor, Tensor]:
    """The last `length` items of each row, on the left, and which places are real: int64 and bool [B, L], L >= 1."""
    kept_B = np.minimum(rows.lengths, length)
    place_L = np.arange(max(1, kept_B.max(initial=1)))
    real_BL = place_L < kept_B[:, None]
    at_BL = (rows.offsets[1:] - kept_B)[:, None] + place_L
    items_BL = np.zeros(real_BL.shape, dtype=np.int64)
    items_BL[real_BL] = rows.values[at_BL[real_BL]]
    return torch.from_numpy(items_BL), torch.from_numpy(real_BL)
