"""Ways of tuning a model: what is added to it, and what is trained. One file each; `Tuning` is any of them."""

from typing import Annotated

from pydantic import Field

from vip5.model.peft.adapters import Adapter, Adapters
from vip5.model.peft.base import Place, TuningMethod, is_norm, is_of_vip5
from vip5.model.peft.full import Full

# Each is its own settings, told apart by `method`. A new one is a file here and its name in this line.
Tuning = Annotated[Full | Adapters, Field(discriminator="method")]
METHODS = (Full, Adapters)

__all__ = ["METHODS", "Adapter", "Adapters", "Full", "Place", "Tuning", "TuningMethod", "is_norm", "is_of_vip5"]
