"""What every way of tuning answers."""

from typing import Literal, Protocol

from torch import nn

Place = Literal["self_attention", "cross_attention", "feed_forward"]  # the sublayers of a block

# What VIP5 has beside its backbone, as the first part of the weights' names: trained by every method.
OF_VIP5 = frozenset(
    {
        "new_tokens",
        "new_head",
        "item_scales",
        "row_content",
        "copying",
        "user_tokens",
        "whole_words",
        "categories",
        "modalities",
    }
)


class TuningMethod(Protocol):
    """A way of tuning. Its fields are its settings (`peft.*`)."""

    @property
    def method(self) -> str: ...

    def fault(self, d_model: int) -> str | None:
        """Why it does not fit a backbone of this width, if it does not."""

    def attach(self, model: nn.Module) -> None:
        """Put what it adds into a model that has just been built."""

    def is_added(self, name: str) -> bool:
        """Whether a weight of this name is one that it adds; a backbone has none of these."""

    def is_trained(self, name: str) -> bool:
        """Whether the weight of this name is trained."""


def is_of_vip5(name: str) -> bool:
    """Whether a weight is one that VIP5 adds to its backbone, whatever the way of tuning."""
    return name.partition(".")[0] in OF_VIP5


def is_norm(name: str) -> bool:
    """Whether a weight is that of a layer norm."""
    return name.endswith("norm.weight")
