"""What an item's content adds to the row of its own token, which the model reads and writes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vip5.model.ops import dropout


class RowContent(nn.Module):
    """From an item's vector of one modality to its share of the item's row: linear, GELU, dropout, linear.

    Vectors are centred and brought to unit variance first, by the mean and the spread of those that `fit` saw. They are
    no weights: `bind` puts them in place, one a token.
    """

    mean: Tensor
    spread: Tensor
    vectors: Tensor  # float32 [n, d_v], as they go into the network
    present: Tensor  # bool [n]

    def __init__(self, dim: int, d_model: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.inner, self.outer = nn.Linear(dim, 2 * d_model), nn.Linear(2 * d_model, d_model)
        # Stands in for a vector that is not there.
        self.missing = nn.Parameter(torch.zeros(dim))
        for linear in (self.inner, self.outer):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("vectors", torch.zeros(0, dim, device="cpu"), persistent=False)
        self.register_buffer("present", torch.zeros(0, dtype=torch.bool, device="cpu"), persistent=False)
        self.all_present = True

    @torch.no_grad()
    def fit(self, vectors_NV: Tensor, present_N: Tensor) -> None:
        """Take mean and spread from the vectors that are there."""
        there = vectors_NV[present_N]
        if len(there) > 1:
            self.mean.copy_(there.mean(dim=0))
            self.spread.copy_((there - self.mean).pow(2).mean().sqrt().clamp(min=1e-12))

    @torch.no_grad()
    def bind(self, vectors_NV: Tensor, present_N: Tensor) -> None:
        """Put the vectors of all n tokens in place; rows that are not present are not read."""
        self.vectors = (vectors_NV.to(self.mean) - self.mean) / self.spread
        self.present, self.all_present = present_N.to(self.mean.device), bool(present_N.all())

    def forward(self, places: Tensor | None = None) -> Tensor:
        """The shares [..., D] of the tokens at `places` [...], or of all n."""
        x = self.vectors if places is None else F.embedding(places, self.vectors)
        if not self.all_present:
            here = self.present if places is None else self.present[places]
            x = torch.where(here[..., None], x, self.missing)
        return self.outer(dropout(F.gelu(self.inner(x)), self.dropout, self.training))
