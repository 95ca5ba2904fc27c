"""VBPR: BPR-MF that also sees what an item's photo shows.

R. He, J. McAuley: VBPR: Visual Bayesian personalized ranking from implicit feedback, AAAI 2016.

Shapes: N pairs, B users, I items, D dimensions of taste, K of looks, V of a photo's features.
"""

from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.bpr import BPRPairs, BPRSettings, vectors
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.features import open_features
from vip5.training.space import Choice, Space


class VBPRSettings(BPRSettings):
    """Settings of `VBPR`."""

    features: str | None = None  # name of the encoded features; none: the only ones there are
    visual_dim: int = Field(64, ge=1)  # K

    def space(self) -> Space:
        return {**super().space(), "visual_dim": Choice((16, 32, 64, 128))}


class VBPR(BPRPairs):
    """x_ui = ⟨γ_u, γ_i⟩ + ⟨θ_u, E f_i⟩ + β_i + ⟨β', f_i⟩ (eq. 4, 5, without what cancels in a pair).

    What we chose: the features of photos are centred and divided by their mean length, so that encoders are alike; an
    item without a photo has the mean of all. λ is of E f_i, in place of E.
    """

    name = "vbpr"
    source = "He and McAuley, AAAI 2016"
    settings_type = VBPRSettings
    cold_items = True
    photos = True
    module: "_Looks"

    @classmethod
    def read_features(cls, dataset: Dataset, settings: Any) -> Tensor:
        store = open_features(dataset, settings.features)
        if store is None:
            raise UserError(f"vbpr looks at photos, and {dataset.path} has no features: run vip5 data encode first")
        found = np.array(store.matrix, dtype=np.float32)
        found[store.mask] -= found[store.mask].mean(axis=0)
        found[~store.mask] = 0
        return torch.from_numpy(found / max(float(np.linalg.norm(found[store.mask], axis=1).mean()), 1e-12))

    def build(self) -> nn.Module:
        assert self.features is not None
        return _Looks(self.n_users, self.features, self.settings.dim, self.settings.visual_dim)

    def pairs(self, user_ND: Tensor, item_ND: Tensor, item_N: Tensor) -> Tensor:
        module = self.module
        return (user_ND * item_ND).sum(dim=1) + module.bias[item_N] + module.features[item_N] @ module.pull

    def score_vectors(self, user_BD: Tensor) -> Tensor:
        module = self.module
        items_I = torch.arange(self.n_items, device=self.device)
        return torch.addmm(module.bias + module.features @ module.pull, user_BD, module.items(items_I).T)


class _Looks(nn.Module):
    def __init__(self, n_users: int, features_IV: Tensor, dim: int, visual_dim: int) -> None:
        super().__init__()
        self.features: Tensor
        self.register_buffer("features", features_IV)
        n_items, wide = features_IV.shape
        self.users = vectors(n_users, dim + visual_dim)
        self.taste = vectors(n_items, dim)
        self.looks = nn.Linear(wide, visual_dim, bias=False)
        self.bias, self.pull = nn.Parameter(torch.zeros(n_items)), nn.Parameter(torch.zeros(wide))

    def items(self, item_N: Tensor) -> Tensor:
        """[N, D + K]: what is multiplied with a user's vector."""
        return torch.cat([self.taste(item_N), self.looks(self.features[item_N])], dim=1)
