"""Models on disk: a folder with `config.json` and `model.safetensors`, or the trained part of one alone."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vip5.errors import UserError, first_fault
from vip5.files import write_text, written_aside
from vip5.model.config import ModelConfig
from vip5.model.peft import is_of_vip5
from vip5.model.t5 import load_t5
from vip5.model.vip5 import VIP5

CONFIG, WEIGHTS, TRAINED = "config.json", "model.safetensors", "trained.safetensors"


def save_model(model: VIP5, folder: str | Path) -> None:
    """Write the whole model. Each file is written aside and renamed; the config comes last and makes it loadable."""
    _save(dict(model.state_dict()), model.config, Path(folder), WEIGHTS)


def load_config(folder: str | Path) -> ModelConfig:
    """The config of a saved model. Raises UserError when it is missing or not one."""
    path = Path(folder) / CONFIG
    try:
        return ModelConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"no {CONFIG} (where: {folder}): give the folder of a saved model") from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"not the config of a model: {_reason(error)} (where: {path}): save the model again") from None


def load_model(folder: str | Path, device: str = "cpu") -> VIP5:
    """Read a model written by `save_model`, ready to be used (evaluation mode).

    Raises UserError for missing files, unknown or missing weights, and shapes that the config does not give.
    """
    folder = Path(folder)
    config = load_config(folder)
    with torch.device("meta"):  # no random start that would be thrown away
        model = VIP5(config)
    state = _read(folder / WEIGHTS, device)
    _check(model, state, set(model.state_dict()), folder / WEIGHTS)
    model.load_state_dict(state, assign=True)
    return model.to(device).eval()


def load_backbone(source: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Fields of `ModelConfig` and weights to start a new model from.

    `source` is a folder of a saved VIP5 (fields are all its own), or a T5 folder or hub name (see `load_t5`).
    """
    try:
        ours = "text_vocab" in json.loads((Path(source) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        ours = False
    if not ours:
        return load_t5(source)
    return load_config(source).model_dump(), _read(Path(source) / WEIGHTS)


def start_from(model: VIP5, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Copy a backbone's weights into a new model. `source` is named in errors.

    What VIP5 adds and the backbone lacks keeps its random start; new tokens are drawn as the backbone's tokens lie.
    """
    own = model.state_dict()
    added = {name for name in own if is_of_vip5(name) or model.config.peft.is_added(name)}
    _check(model, state, set(own) - added, source)
    model.load_state_dict(state, strict=False)
    model.init_new_tokens({name for name in own if name not in state})


def save_trained(model: VIP5, folder: str | Path) -> None:
    """Write the trained weights alone, with the mark of the frozen rest. Raises UserError where nothing is frozen."""
    if all(weight.requires_grad for weight in model.parameters()):
        raise UserError("all of this model is trained, so there is no frozen part to leave out: save the whole model")
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    _save(trained, model.config, Path(folder), TRAINED, {"backbone": frozen_mark(model)})


def load_trained(model: VIP5, folder: str | Path) -> None:
    """Put what `save_trained` wrote into a model with the same frozen backbone.

    Raises UserError for missing files, a model of other shapes or tuning, or another backbone.
    """
    path = Path(folder) / TRAINED
    state = _read(path)
    _check(model, state, {name for name, weight in model.named_parameters() if weight.requires_grad}, path)
    with safe_open(path, "pt") as file:
        mark = (file.metadata() or {}).get("backbone")
    if mark != frozen_mark(model):
        raise UserError(f"these weights were trained on another backbone (where: {path}): load that one first")
    model.load_state_dict(state, strict=False)


def frozen_mark(model: VIP5) -> str:
    """Hash of the weights that are not trained: the trained ones fit no others."""
    digest = hashlib.blake2b(digest_size=16)
    for name, weight in sorted(model.named_parameters()):
        if not weight.requires_grad:
            digest.update(name.encode())
            digest.update(weight.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _save(
    state: Mapping[str, Tensor], config: ModelConfig, folder: Path, name: str, metadata: dict[str, str] | None = None
) -> None:
    weights = {key: value.detach().contiguous() for key, value in state.items()}
    with written_aside(folder / CONFIG) as config_aside:
        write_text(config_aside, config.model_dump_json(indent=2) + "\n")
        with written_aside(folder / name) as aside:
            save_file(weights, aside, metadata={"format": "pt"} | (metadata or {}))


def _read(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    try:
        return load_file(path, device=device)
    except FileNotFoundError:
        raise UserError(f"no {path.name} (where: {path.parent}): give the folder of a saved model") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"weights cannot be read: {_reason(error)} (where: {path}): save or copy them again") from None


def _check(model: VIP5, state: Mapping[str, Tensor], needed: set[str], source: str | Path) -> None:
    """Every needed weight is there, none is unknown, all shapes fit."""
    own = model.state_dict()
    remedy = "the model's config (size, vocabulary, modalities, peft) must be that of the weights"
    for what, names in (("misses", needed - set(state)), ("has unknown", set(state) - set(own))):
        if names:
            some = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise UserError(f"the file {what} {some} (where: {source}): {remedy}")
    for name, weight in state.items():
        if weight.shape != own[name].shape:
            shapes = f"{list(weight.shape)}, the model's is {list(own[name].shape)}"
            raise UserError(f"the shape of {name} is {shapes} (where: {source}): {remedy}")


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        where, what, _ = first_fault(error)
        return f"{where} {what}".strip()
    return str(error).strip().partition("\n")[0] or type(error).__name__
