"""Parameters by part, trained and frozen (VIP5, table 5)."""

from dataclasses import dataclass

from torch import nn

from vip5.model.vip5 import VIP5

PARTS = (
    "token embeddings",
    "encoder",
    "decoder",
    "layer norms",
    "adapters",
    "mapping network",
    "whole-word and category",
    "head",
)
TABLES = {
    "text_tokens": "token embeddings",
    "new_tokens": "token embeddings",
    "user_tokens": "token embeddings",
    "whole_words": "whole-word and category",
    "categories": "whole-word and category",
    "text_head": "head",
    "new_head": "head",
}


@dataclass
class Part:
    """Numbers of parameters of one part of a model."""

    name: str
    trained: int = 0
    frozen: int = 0

    @property
    def total(self) -> int:
        return self.trained + self.frozen


def count_parameters(model: VIP5) -> list[Part]:
    """All parts, in the order of `PARTS`, empty ones too (a tied head has no parameters of its own).

    The mapping network's own norm and its "no photo" vector count with it; `layer norms` are those of the backbone.
    """
    parts = {name: Part(name) for name in PARTS}
    for module_name, module in model.named_modules():
        for weight in module.parameters(recurse=False):
            part = parts[_part_of(module_name, module)]
            if weight.requires_grad:
                part.trained += weight.numel()
            else:
                part.frozen += weight.numel()
    return list(parts.values())


def _part_of(name: str, module: nn.Module) -> str:
    first, _, rest = name.partition(".")
    if first == "visual":
        return "mapping network"
    if first in TABLES:
        return TABLES[first]
    if isinstance(module, nn.RMSNorm):
        return "layer norms"
    return "adapters" if "adapter" in rest.split(".") else first
