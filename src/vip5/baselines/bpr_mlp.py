"""BPR-MLP: a small network in place of BPR-MF's product.

X. He et al.: Neural collaborative filtering, WWW 2017; the loss is that of BPR.

Shapes: N pairs, B users, I items, D dimensions, H hidden units.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from vip5.baselines.base import users_or_nobody
from vip5.baselines.bpr import BPRPairs, BPRSettings, of_users, vectors
from vip5.data import Ragged
from vip5.space import Choice, Space

_HIDDEN = 16_000_000  # hidden units at once, where all items are scored


class BPRMLPSettings(BPRSettings):
    """Settings of `BPRMLP`."""

    dim: int = Field(32, ge=1)
    l2: float = Field(0.03, ge=0)
    weight_decay: float = Field(1e-4, ge=0)  # λ holds the vectors alone, and the layers could grow in their place
    hidden: tuple[int, ...] = (64, 32)  # widths of the layers

    @field_validator("hidden")
    @classmethod
    def _some(cls, hidden: tuple[int, ...]) -> tuple[int, ...]:
        if not hidden or min(hidden) < 1:
            raise ValueError("give the width of one layer at least")
        return hidden

    def space(self) -> Space:
        return {**super().space(), "hidden": Choice(((64,), (64, 32), (128, 64), (128, 64, 32)))}


class BPRMLP(BPRPairs):
    """x_ui = hᵀ φ(… φ(W [p_u; q_i] + b) …), φ = ReLU (section 3.3), and a bias of the item."""

    name = "bpr-mlp"
    source = "He et al., WWW 2017, section 3.3, with the loss of BPR"
    settings_type = BPRMLPSettings
    module: "_PairMLP"

    def build(self) -> nn.Module:
        return _PairMLP(self.n_users, self.n_items, self.settings.dim, self.settings.hidden)

    def pairs(self, user_ND: Tensor, item_ND: Tensor, item_N: Tensor) -> Tensor:
        module = self.module
        return module.above(module.of_user(user_ND) + module.of_item(item_ND)) + module.bias[item_N]

    def score_vectors(self, user_BD: Tensor) -> Tensor:
        module = self.module
        item_IH, user_BH = module.of_item(module.items.weight), module.of_user(user_BD)
        at_once = max(1, _HIDDEN // item_IH.numel())
        parts = [module.above(part[:, None] + item_IH) for part in user_BH.split(at_once)]
        return torch.cat(parts) + module.bias

    def scores_of(self, candidates: np.ndarray, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        """float32 [n, C]: of these items alone, since a network is slow to score all with."""
        module, parts = self.module.eval(), []
        known = torch.from_numpy(users_or_nobody(users, len(candidates))).to(self.device)
        at_once = max(1, _HIDDEN // (candidates.shape[1] * self.settings.hidden[0]))
        with torch.inference_mode():
            for users_B, rows in zip(known.split(at_once), torch.from_numpy(candidates).split(at_once), strict=True):
                items_BC = rows.long().to(self.device)
                user_BH = module.of_user(of_users(module.users.weight, users_B))
                item_BCH = module.of_item(module.items.weight)[items_BC]
                parts.append(module.above(user_BH[:, None] + item_BCH) + module.bias[items_BC])
        return torch.cat(parts).float().cpu().numpy()


class _PairMLP(nn.Module):
    """The first layer, W [p; q] + b, in two halves, so that each user and item goes through it once."""

    def __init__(self, n_users: int, n_items: int, dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.users, self.items = vectors(n_users, dim), vectors(n_items, dim)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.of_user, self.of_item = nn.Linear(dim, hidden[0], bias=False), nn.Linear(dim, hidden[0])
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(hidden))
        self.out = nn.Linear(hidden[-1], 1, bias=False)

    def above(self, x: Tensor) -> Tensor:
        """[…, H] after the first layer's sum to scores […]."""
        x = F.relu(x)
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.out(x).squeeze(-1)
