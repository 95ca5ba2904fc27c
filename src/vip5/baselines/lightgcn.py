"""LightGCN: BPR-MF on vectors that are first averaged over the graph of who bought what.

X. He, K. Deng, X. Wang, Y. Li, Y. Zhang, M. Wang: LightGCN: Simplifying and powering graph convolution network for
recommendation, SIGIR 2020.

Shapes: N pairs, B users, U users and I items in all, M = U + I nodes, E edges, D dimensions.
"""

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.bpr import BPR, BPRSettings, of_users, pair_loss, vectors
from vip5.data import Dataset, Ragged
from vip5.space import Choice, Real, Space, Whole


class LightGCNSettings(BPRSettings):
    """Settings of `LightGCN`."""

    layers: int = Field(3, ge=0)  # K
    batch_size: int = Field(8192, ge=1)  # large: the whole graph is gone through for each batch
    lr: float = Field(1e-2, gt=0)

    def space(self) -> Space:
        own: Space = {"layers": Whole(1, 4), "batch_size": Choice((2048, 8192)), "lr": Real(1e-3, 3e-2, log=True)}
        return {**super().space(), **own}


class LightGCN(BPR):
    """x_ui = ⟨e_u, e_i⟩ (eq. 6), e the mean of the layers 0 to K of E' = D^-½ A D^-½ E (eq. 3, 4, 8).

    A holds an edge for each item that somebody bought in the training part; layer 0 is what is learned, and what λ is
    of (eq. 15). An item has no bias.
    """

    name = "lightgcn"
    source = "He et al., SIGIR 2020"
    settings_type = LightGCNSettings
    module: "_PurchaseGraph"

    @classmethod
    def read_features(cls, dataset: Dataset, settings: Any) -> Tensor:
        """int32 [2, E]: user and item of each edge."""
        history = dataset.history("train")
        return torch.from_numpy(np.unique(np.stack([history.rows, history.values]), axis=1).astype(np.int32))

    def build(self) -> nn.Module:
        assert self.features is not None
        return _PurchaseGraph(self.n_users, self.n_items, self.settings.dim, self.settings.layers, self.features)

    def loss(self, u_N: Tensor, i_N: Tensor, j_N: Tensor) -> Tensor:
        module = self.module
        users_UD, items_ID = module()
        above_N = (users_UD[u_N] * (items_ID[i_N] - items_ID[j_N])).sum(dim=1)
        return pair_loss(above_N, self.settings.l2, module.users(u_N), module.items(i_N), module.items(j_N))

    def item_vectors(self) -> Tensor:
        return self.module()[1]

    def score(self, histories: Ragged, users: Tensor) -> Tensor:
        users_UD, items_ID = self.module()
        return of_users(users_UD, users) @ items_ID.T


class _PurchaseGraph(nn.Module):
    def __init__(self, n_users: int, n_items: int, dim: int, layers: int, edges_2E: Tensor) -> None:
        super().__init__()
        self.layers = layers
        self.users, self.items = vectors(n_users, dim), vectors(n_items, dim)
        self.features: Tensor
        self.adjacency_MM: Tensor
        self.register_buffer("features", edges_2E)
        self.register_buffer("adjacency_MM", _normalised(edges_2E, n_users, n_items), persistent=False)

    def forward(self) -> tuple[Tensor, Tensor]:
        """[U, D] and [I, D]: the mean of all layers."""
        layer_0_MD = torch.cat([self.users.weight, self.items.weight])
        mean_MD = _LayerMean.apply(layer_0_MD, self.adjacency_MM, self.layers)
        return mean_MD.split([len(self.users.weight), len(self.items.weight)])


class _LayerMean(torch.autograd.Function):
    """The mean of the layers 0 to K: symmetric and linear, so that its gradient is taken by doing the same."""

    @staticmethod
    def forward(ctx: Any, layer_MD: Tensor, adjacency_MM: Tensor, layers: int) -> Tensor:
        ctx.adjacency_MM, ctx.layers = adjacency_MM, layers
        total_MD = layer_MD.clone()
        for _ in range(layers):
            layer_MD = adjacency_MM @ layer_MD
            total_MD += layer_MD
        return total_MD / (layers + 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _LayerMean.forward(ctx, gradients[0], ctx.adjacency_MM, ctx.layers), None, None


def _normalised(edges_2E: Tensor, n_users: int, n_items: int) -> Tensor:
    """Sparse float32 [M, M]: 1 / √(degree of the user · degree of the item) at each edge, both ways."""
    user_E, item_E = edges_2E.cpu().numpy()
    degree_U, degree_I = np.bincount(user_E, minlength=n_users), np.bincount(item_E, minlength=n_items)
    weight_E = (1 / np.sqrt(degree_U[user_E] * degree_I[item_E])).astype(np.float32)
    half = sp.coo_array((weight_E, (user_E, item_E)), shape=(n_users, n_items))
    both = sp.block_array([[None, half], [half.T, None]], format="csr")
    starts, ends_of, weights = (torch.from_numpy(part) for part in (both.indptr, both.indices, both.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that torch's support of this layout is young
        return torch.sparse_csr_tensor(starts, ends_of, weights, both.shape, check_invariants=False)
