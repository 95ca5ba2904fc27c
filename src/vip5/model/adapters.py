"""Bottleneck adapters (Houlsby et al. 2019; VIP5, section 3.2)."""

import torch.nn.functional as F
from torch import Tensor, nn


class Adapter(nn.Module):
    """A(h) = up(GELU(down(h))) + h, from d to d/r and back; near the identity at the start."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, width // reduction)
        self.up = nn.Linear(width // reduction, width)
        nn.init.normal_(self.down.weight, std=width**-0.5)
        # Not zero: with up = 0 no gradient would reach `down` in the first step.
        nn.init.normal_(self.up.weight, std=1e-3)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.up(F.gelu(self.down(h)))
