"""From an item's vector of one modality to k tokens of the language model (VIP5, section 3.1)."""

import torch
from torch import Tensor, nn


class MappingNetwork(nn.Module):
    """f: d_v → k·d/2 → tanh → k·d, then one T5 layer norm over all of k·d, as in the authors' code: k tokens."""

    def __init__(self, dim: int, tokens: int, d_model: int, eps: float) -> None:
        super().__init__()
        self.tokens = tokens
        width = tokens * d_model
        self.hidden = nn.Linear(dim, width // 2)
        self.out = nn.Linear(width // 2, width)
        self.norm = nn.RMSNorm(width, eps=eps)
        # Stands in for the vector, ahead of the network, so that an item without one is as loud as any other.
        self.missing = nn.Parameter(torch.empty(dim))
        for linear in (self.hidden, self.out):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.missing, std=0.02)

    def forward(self, vectors_UV: Tensor, present_U: Tensor) -> Tensor:
        """Tokens [U, k, d] of U items; rows of `vectors_UV` that are not present are not read."""
        x_UV = torch.where(present_U[:, None], vectors_UV, self.missing)
        y_UW = self.out(torch.tanh(self.hidden(x_UV)))
        return self.norm(y_UW.float()).unflatten(-1, (self.tokens, -1))
