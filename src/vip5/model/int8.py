"""Matrix products in 8-bit integers, for answering on a CPU.

Weights are scaled by output, inputs by token as they come (LLM.int8(), Dettmers et al. 2022, section 3.1: vector-wise
quantisation); sums are exact. Embeddings, the head, attention's own products and what a way of tuning adds stay as they
are.
"""

import torch
from torch import Tensor, nn

from vip5.errors import UserError
from vip5.model.vip5 import VIP5

LARGEST = 127


class Int8Linear(nn.Module):
    """x Wᵀ for W float32 [O, I], without bias and without gradient."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight_OI = linear.weight.detach()
        self.scale_O = _scale(weight_OI).squeeze(1)
        self.weight_IO = _rounded(weight_OI, self.scale_O[:, None]).t()

    def forward(self, x: Tensor) -> Tensor:
        x_NI = x.flatten(0, -2).float()
        scale_N1 = _scale(x_NI)
        y_NO = torch._int_mm(_rounded(x_NI, scale_N1), self.weight_IO).float()
        return y_NO.mul_(scale_N1).mul_(self.scale_O).view(*x.shape[:-1], -1)


def _scale(x_NI: Tensor) -> Tensor:
    """What one unit stands for in each row, [N, 1]."""
    return x_NI.abs().amax(dim=1, keepdim=True).div_(LARGEST).clamp_(min=torch.finfo(torch.float32).tiny)


def _rounded(x_NI: Tensor, scale_N1: Tensor) -> Tensor:
    return (x_NI / scale_N1).round_().to(torch.int8)


def to_int8(model: VIP5) -> VIP5:
    """Put the linear layers of encoder and decoder into 8-bit integers, in place; no training and no saving after that.

    Raises: UserError for a model that is not on a CPU.
    """
    if model.text_tokens.weight.device.type != "cpu":
        raise UserError("8-bit integers are for CPUs: leave --int8 out, or take --device cpu")
    for name, linear in list(model.named_modules()):
        inside = name.startswith(("encoder.", "decoder.")) and not model.config.peft.is_added(f"{name}.weight")
        if inside and isinstance(linear, nn.Linear):
            holder, _, own = name.rpartition(".")
            setattr(model.get_submodule(holder), own, Int8Linear(linear))
    return model.requires_grad_(False)
