"""VBPR: BPR-MF that also sees what an item's photo shows.

R. He, J. McAuley: VBPR: Visual Bayesian personalized ranking from implicit feedback, AAAI 2016.

Shapes: N pairs, B users, I items, D dimensions of taste, K of looks, V components of a photo.
"""

from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.bpr import BPRPairs, BPRSettings, vectors
from vip5.data import Dataset
from vip5.modalities import open_modality
from vip5.space import Choice, Space


class VBPRSettings(BPRSettings):
    """Settings of `VBPR`."""

    modality: str = "photo"  # whose vectors are looked at
    components: int = Field(128, ge=1)  # V: of these vectors, the principal ones that are kept
    visual_dim: int = Field(64, ge=1)  # K

    def space(self) -> Space:
        own: Space = {"components": Choice((32, 128, 512)), "visual_dim": Choice((16, 32, 64, 128))}
        return {**super().space(), **own}


class VBPR(BPRPairs):
    """x_ui = ⟨γ_u, γ_i⟩ + ⟨θ_u, E f_i⟩ + β_i + ⟨β', f_i⟩ (eq. 4, 5, without what cancels in a pair).

    What we chose: the vectors of photos are centred, turned to their principal components, of which the first are
    kept, and divided by their mean length, so that encoders are alike and E is small; an item without a photo has the
    mean of all. λ is of E f_i, in place of E. Another modality of the items takes the place of photos as it is.
    """

    name = "vbpr"
    source = "He and McAuley, AAAI 2016"
    settings_type = VBPRSettings
    cold_items = True
    module: "_VBPRVectors"

    @classmethod
    def read_features(cls, dataset: Dataset, settings: Any) -> Tensor:
        store = open_modality(dataset, settings.modality)
        seen = torch.from_numpy(np.array(store.matrix[store.mask], dtype=np.float32))
        seen -= seen.mean(dim=0)
        _, axes = torch.linalg.eigh(seen.T @ seen)  # in order of the variance, the least first
        seen = seen @ axes[:, -settings.components :]
        found = torch.zeros(len(store.mask), seen.shape[1])
        found[torch.from_numpy(np.array(store.mask))] = seen / seen.norm(dim=1).mean().clamp(min=1e-12)
        return found

    def build(self) -> nn.Module:
        assert self.features is not None
        return _VBPRVectors(self.n_users, self.features, self.settings.dim, self.settings.visual_dim)

    def pairs(self, user_ND: Tensor, item_ND: Tensor, item_N: Tensor) -> Tensor:
        module = self.module
        return (user_ND * item_ND).sum(dim=1) + module.bias[item_N] + module.features[item_N] @ module.pull

    def score_vectors(self, user_BD: Tensor) -> Tensor:
        module = self.module
        return torch.addmm(module.bias + module.features @ module.pull, user_BD, self.item_vectors().T)


class _VBPRVectors(nn.Module):
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
