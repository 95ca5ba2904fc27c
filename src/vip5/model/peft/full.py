"""Everything is trained and nothing is added: a P5, and every model from scratch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import nn


class Full(BaseModel):
    """All weights are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["full"] = "full"

    def fault(self, d_model: int) -> str | None:
        return None

    def attach(self, model: nn.Module) -> None:
        pass

    def is_added(self, name: str) -> bool:
        return False

    def is_trained(self, name: str) -> bool:
        return True
