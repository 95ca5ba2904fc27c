"""How a sentence-transformers checkpoint makes one vector of a text's token states: what its files say, done alike.

Reimers and Gurevych 2019; modules.json lists the steps. B texts, T tokens, D numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from vip5.errors import UserError
from vip5.modalities.loading import Checkpoint, first_line

# Each of x_BTD and mask_BT (float, 1 at tokens) gives x_BD. The order is that of their joined outputs.
_POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": lambda x, mask: x[:, 0],
    "max": lambda x, mask: x.masked_fill(mask[:, :, None] == 0, -1e9).amax(1),
    "mean": lambda x, mask: _sum(x, mask) / _count(mask),
    "mean_sqrt_len_tokens": lambda x, mask: _sum(x, mask) / _count(mask).sqrt(),
    "weightedmean": lambda x, mask: _sum(x, _by_place(mask)) / _count(_by_place(mask)),
    "lasttoken": lambda x, mask: x[torch.arange(len(x), device=x.device), mask.sum(1).long().clamp(min=1) - 1],
}
_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_ACTIVATIONS = {"Identity": torch.nn.Identity(), "Tanh": torch.nn.Tanh()}


@dataclass(frozen=True)
class Dense:
    """A layer after the pooling: act(x W^T + b)."""

    weight: Tensor  # [D', D]
    bias: Tensor | None  # [D']
    activation: str


@dataclass(frozen=True)
class Recipe:
    """From a text to its vector, around the transformer."""

    folder: str = ""  # of the transformer, within the checkpoint
    length: int | None = None  # tokens read of a text; as the tokenizer says when None
    lower: bool = False  # the text is made lower case first
    prompt: str = ""  # stands before every text
    poolings: tuple[str, ...] = ("mean",)
    after: tuple[Dense | None, ...] = ()  # the steps after the pooling; None: to length 1

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> "Recipe":
        """What modules.json and the files it names say; the mean of the token states where there is none.

        Raises: UserError for a step that is not known here.
        """
        modules = checkpoint.json("modules.json")
        if modules is None:
            return cls()
        said: dict[str, Any] = {}
        after: list[Dense | None] = []
        for module in modules:
            kind, path = module["type"].rsplit(".", 1)[-1], module["path"]
            if kind == "Transformer":
                said |= {"folder": path} | _reading(checkpoint, path)
            elif kind == "Pooling":
                said |= {"poolings": _poolings(checkpoint, path)}
            elif kind == "Normalize":
                after.append(None)
            elif kind == "Dense":
                after.append(_dense(checkpoint, path))
            elif kind != "Dropout":  # which does nothing outside of training
                raise UserError(
                    f"the encoder {checkpoint.name!r} has a step {kind}, which is not known: take another one"
                )
        return cls(**said, prompt=_prompt(checkpoint), after=tuple(after))

    def pool(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Token states and the mask of tokens to x_BD."""
        x_BD = torch.cat([_POOLINGS[name](x_BTD, mask_BT.to(x_BTD)) for name in self.poolings], 1)
        for step in self.after:
            if step is None:
                x_BD = torch.nn.functional.normalize(x_BD, dim=1)
            else:
                bias = None if step.bias is None else step.bias.to(x_BD)
                x_BD = _ACTIVATIONS[step.activation](torch.nn.functional.linear(x_BD, step.weight.to(x_BD), bias))
        return x_BD


def _reading(checkpoint: Checkpoint, folder: str) -> dict[str, Any]:
    config = checkpoint.json(_within(folder, "sentence_bert_config.json")) or {}
    return {"length": config.get("max_seq_length"), "lower": bool(config.get("do_lower_case"))}


def _poolings(checkpoint: Checkpoint, folder: str) -> tuple[str, ...]:
    config = checkpoint.json(_within(folder, "config.json")) or {}
    named = config.get("pooling_mode") or [
        name for name, flag in _FLAGS.items() if config.get(flag, name == "mean" and flag not in config)
    ]
    names = [named] if isinstance(named, str) else list(named)
    if not names or not set(names) <= _POOLINGS.keys():
        raise UserError(f"the encoder {checkpoint.name!r} pools by {names}, which is not known: take another one")
    return tuple(name for name in _POOLINGS if name in names)


def _dense(checkpoint: Checkpoint, folder: str) -> Dense:
    config = checkpoint.json(_within(folder, "config.json")) or {}
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rsplit(".", 1)[-1]
    if activation not in _ACTIVATIONS:
        raise UserError(f"the encoder {checkpoint.name!r} ends in {activation}, which is not known: take another one")
    file = checkpoint.file(_within(folder, "model.safetensors"))
    old = None if file else checkpoint.file(_within(folder, "pytorch_model.bin"))
    try:
        weights = load_file(file) if file else torch.load(str(old), map_location="cpu", weights_only=True)
        return Dense(weights["linear.weight"].float(), weights.get("linear.bias"), activation)
    except Exception as error:  # a damaged or missing file; nothing is unpickled
        raise UserError(
            f"cannot load {folder} of the encoder {checkpoint.name!r} ({first_line(error)}): give a whole checkpoint"
        ) from None


def _prompt(checkpoint: Checkpoint) -> str:
    config = checkpoint.json("config_sentence_transformers.json") or {}
    return (config.get("prompts") or {}).get(config.get("default_prompt_name") or "", "")


def _within(folder: str, file: str) -> str:
    return f"{folder}/{file}" if folder else file


def _sum(x_BTD: Tensor, weight_BT: Tensor) -> Tensor:
    return (x_BTD * weight_BT[:, :, None]).sum(1)


def _count(weight_BT: Tensor) -> Tensor:
    return weight_BT.sum(1, keepdim=True).clamp(min=1e-9)


def _by_place(mask_BT: Tensor) -> Tensor:
    return mask_BT * torch.arange(1, mask_BT.shape[1] + 1, device=mask_BT.device)
