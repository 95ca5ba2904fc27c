"""Bottleneck adapters on a frozen backbone (Houlsby et al. 2019; VIP5, section 3.2)."""

from typing import Any, Literal

import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vip5.model.peft.base import Place, is_norm, is_of_vip5


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


class Adapters(BaseModel):
    """Adapters after some sublayers; with them the layer norms are trained, and what VIP5 adds to the backbone.

    The paper's "self" is self_attention and feed_forward, its "self+cross" all three places.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["adapters"] = "adapters"
    places: tuple[Place, ...] = Field(("self_attention", "feed_forward", "cross_attention"), min_length=1)
    reduction: int = Field(8, ge=1)  # r: the adapter's inner width is d_model / r

    def fault(self, d_model: int) -> str | None:
        if d_model % self.reduction:
            return f"peft.reduction {self.reduction} does not divide d_model {d_model}"
        return None

    def attach(self, model: nn.Module) -> None:
        sublayers: list[Any] = [
            module for name, module in model.named_modules() if name.rpartition(".")[2] in self.places
        ]
        for sublayer in sublayers:
            sublayer.adapter = Adapter(len(sublayer.norm.weight), self.reduction)

    def is_added(self, name: str) -> bool:
        return ".adapter." in name

    def is_trained(self, name: str) -> bool:
        return self.is_added(name) or is_of_vip5(name) or is_norm(name)
