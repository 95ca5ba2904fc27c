"""From a photo's feature vector to k tokens of the language model (VIP5, section 3.1)."""

import torch
from torch import Tensor, nn


class MappingNetwork(nn.Module):
    """f: d_v → k·d/2 → tanh → k·d, seen as k image tokens of width d, each under a T5 layer norm."""

    def __init__(self, feature_dim: int, image_tokens: int, d_model: int, eps: float) -> None:
        super().__init__()
        self.image_tokens = image_tokens
        width = image_tokens * d_model
        self.hidden = nn.Linear(feature_dim, width // 2)
        self.out = nn.Linear(width // 2, width)
        self.norm = nn.RMSNorm(d_model, eps=eps)
        # Stands in for the features, ahead of the network, so that a missing photo is as loud as a present one.
        self.no_photo = nn.Parameter(torch.empty(feature_dim))
        for linear in (self.hidden, self.out):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.no_photo, std=0.02)

    def forward(self, features_UV: Tensor, has_photo_U: Tensor) -> Tensor:
        """Image tokens [U, k, d] of U items; rows of `features_UV` without photo are not read."""
        x_UV = torch.where(has_photo_U[:, None], features_UV, self.no_photo)
        y_UKD = self.out(torch.tanh(self.hidden(x_UV))).unflatten(-1, (self.image_tokens, -1))
        return self.norm(y_UKD.float())
