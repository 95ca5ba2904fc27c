"""Parameters by part, trained and frozen (VIP5, table 5)."""

from dataclasses import dataclass

from vip5.model.peft import TuningMethod, is_norm
from vip5.model.vip5 import VIP5

PARTS = (
    "token embeddings",
    "encoder",
    "decoder",
    "layer norms",
    "added by tuning",
    "mapping networks",
    "whole-word and category",
    "head",
)
TABLES = {
    "text_tokens": "token embeddings",
    "new_tokens": "token embeddings",
    "user_tokens": "token embeddings",
    "item_scales": "token embeddings",
    "row_content": "mapping networks",
    "whole_words": "whole-word and category",
    "categories": "whole-word and category",
    "modalities": "mapping networks",
    "text_head": "head",
    "new_head": "head",
    "copying": "head",
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

    A mapping network's own norm and its "missing" vector count with it; `layer norms` are those of the backbone.
    """
    parts = {name: Part(name) for name in PARTS}
    for name, weight in model.named_parameters():
        part = parts[_part_of(name, model.config.peft)]
        if weight.requires_grad:
            part.trained += weight.numel()
        else:
            part.frozen += weight.numel()
    return list(parts.values())


def _part_of(name: str, peft: TuningMethod) -> str:
    first = name.partition(".")[0]
    if first in TABLES:
        return TABLES[first]
    if peft.is_added(name):
        return "added by tuning"
    return "layer norms" if is_norm(name) else first
