"""HGN: the last few items of a history, gated feature by feature and item by item, beside the user's taste.

C. Ma, P. Kang, X. Liu: Hierarchical gating networks for sequential recommendation, KDD 2019.

Shapes: B windows, L items of a window, T targets, D dimensions, I items.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.bpr import of_users, vectors
from vip5.baselines.learned import Bought, LearnedRanker, LearnedSettings
from vip5.data import Dataset, Ragged
from vip5.space import Choice, Real, Space, Whole


class HGNSettings(LearnedSettings):
    """Settings of `HGN`; L, T and the size of a batch are the authors'."""

    length: int = Field(5, ge=1)  # L, the last items of a history that are read
    targets: int = Field(3, ge=1)  # T, the items after a window that are learned from
    batch_size: int = Field(4096, ge=1)
    l2: float = Field(0.01, ge=0)  # of the squares of a case's vectors

    def space(self) -> Space:
        own: Space = {"length": Whole(2, 10), "targets": Whole(1, 5), "l2": Real(1e-4, 1.0, log=True)}
        return {**super().space(), "batch_size": Choice((1024, 4096)), **own}


class HGN(LearnedRanker):
    """Feature gating, instance gating and item-item products (sections 4.2 to 4.4).

    A window's items S are gated by features, S' = S ⊗ σ(S W1 + u W2 + b), and by instances, s = σ(S' w3 + u W4), whose
    column is the item's place in the window, and averaged with the weights s. An item's score is w · (u + average +
    sum of S) + b, with output vectors w of its own. The loss is that of BPR.

    What we chose: every item of the training part after the first ends a window as a target, shorter windows are
    masked, and negatives are outside the user's own items. The mean over real items takes the place of the authors'
    vector for padding.
    """

    name = "hgn"
    source = "Ma, Kang and Liu, KDD 2019"
    settings_type = HGNSettings
    cold_users = True
    module: "_HGNGates"

    def build(self) -> nn.Module:
        return _HGNGates(self.n_users, self.n_items, self.settings.dim, self.settings.length)

    def item_vectors(self) -> Tensor:
        return self.module.out.weight

    def batches(self, dataset: Dataset) -> Iterator[Tensor]:
        settings, history, module = self.settings, dataset.history("train"), self.module
        bought, rows = Bought(history, self.n_items), history.rows
        place = np.arange(len(rows)) - history.offsets[rows]
        ends = np.flatnonzero(place + 1 < history.lengths[rows])  # the last item of each window
        ends = ends[torch.randperm(len(ends)).numpy()]
        steps_T = np.arange(1, settings.targets + 1)
        for start in range(0, len(ends), settings.batch_size):
            at = ends[start : start + settings.batch_size]
            user_B = torch.from_numpy(rows[at])
            items_BL, real_BL = _windows(history, at, settings.length)
            real_BT = torch.from_numpy(place[at][:, None] + steps_T < history.lengths[rows[at]][:, None])
            after_BT = np.minimum(at[:, None] + steps_T, len(rows) - 1)
            right_BT = torch.from_numpy(history.values[after_BT].astype(np.int64))
            wrong_BT = bought.outside(user_B[:, None].expand_as(right_BT).flatten()).view_as(right_BT)
            u_BD = module.users(user_B.to(self.device))
            query_BD = module(u_BD, items_BL.to(self.device), real_BL.to(self.device))
            both_2BT = torch.stack([right_BT, wrong_BT]).to(self.device)
            w_2BTD = module.out(both_2BT)
            right, wrong = (w_2BTD @ query_BD[:, :, None]).squeeze(-1) + module.bias[both_2BT]
            real = real_BT.to(self.device)
            squares = u_BD.square().sum(dim=1).mean() + w_2BTD.square().sum(dim=3)[:, real].mean()
            yield F.softplus(wrong - right)[real].mean() + settings.l2 / 2 * squares

    def score(self, histories: Ragged, users: Tensor) -> Tensor:
        module = self.module
        items_BL, real_BL = _windows(histories, histories.offsets[1:] - 1, self.settings.length, histories.lengths)
        u_BD = of_users(module.users.weight, users)
        query_BD = module(u_BD, items_BL.to(self.device), real_BL.to(self.device))
        return torch.addmm(module.bias, query_BD, module.out.weight.T)


class _HGNGates(nn.Module):
    def __init__(self, n_users: int, n_items: int, dim: int, length: int) -> None:
        super().__init__()
        self.users, self.items, self.out = (vectors(n, dim) for n in (n_users, n_items, n_items))
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.feature_item, self.feature_user = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.instance_item, self.instance_user = nn.Linear(dim, 1, bias=False), nn.Linear(dim, length, bias=False)

    def forward(self, u_BD: Tensor, items_BL: Tensor, real_BL: Tensor) -> Tensor:
        """[B, D]: what is multiplied with an item's output vector; windows stand on the right."""
        s_BLD = self.items(items_BL) * real_BL[:, :, None]
        gated_BLD = s_BLD * torch.sigmoid(self.feature_item(s_BLD) + self.feature_user(u_BD)[:, None])
        weight_BL = torch.sigmoid(self.instance_item(gated_BLD).squeeze(-1) + self.instance_user(u_BD)) * real_BL
        mean_BD = (gated_BLD * weight_BL[:, :, None]).sum(dim=1) / weight_BL.sum(dim=1, keepdim=True).clamp(min=1e-9)
        return u_BD + mean_BD + s_BLD.sum(dim=1)


def _windows(rows: Ragged, last: np.ndarray, length: int, counts: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """The `length` items up to places `last` [B] of the values, within their row, on the right; which are real.

    int64 and bool [B, L]. `counts` are how many items each window may have; up to the row's start, where not given.
    """
    if counts is None:
        row = np.searchsorted(rows.offsets, last, side="right") - 1
        counts = last - rows.offsets[row] + 1
    back_L = np.arange(length - 1, -1, -1)
    real_BL = back_L < counts[:, None]
    items_BL = np.zeros(real_BL.shape, dtype=np.int64)
    items_BL[real_BL] = rows.values[(last[:, None] - back_L)[real_BL]]
    return torch.from_numpy(items_BL), torch.from_numpy(real_BL)
