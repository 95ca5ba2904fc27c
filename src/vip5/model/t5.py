"""Weights of any T5-family checkpoint, in and out: v1.0 (relu, tied head) and v1.1/flan/mT5 (gated, own head)."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vip5.errors import UserError
from vip5.model.config import ModelConfig

FAMILY = ("t5", "mt5")
ACTIVATIONS = {
    "relu": {"gated": False, "activation": "relu"},
    "gated-gelu": {"gated": True, "activation": "gelu_new"},
    "gated-silu": {"gated": True, "activation": "silu"},
}
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def load_t5(source: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a T5-family checkpoint: the backbone's fields of `ModelConfig`, and its weights under our names, float32.

    `source` is a folder as `transformers` writes it (one file or shards, safetensors or .bin), or a name on the hub.
    Raises UserError for what is no T5, misses weights, or cannot be reached.
    """
    folder = local_folder(source)
    config = _read_config(folder)
    theirs = _read_weights(folder)
    # Scaled output and tied head go together in T5; transformers 5 writes the first apart and calls every head tied.
    tied = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True))
    try:
        fields = {
            "text_vocab": theirs["shared.weight"].shape[0],
            "d_model": config["d_model"],
            "d_kv": config["d_kv"],
            "d_ff": config["d_ff"],
            "heads": config["num_heads"],
            "encoder_layers": config["num_layers"],
            "decoder_layers": config.get("num_decoder_layers") or config["num_layers"],
            **ACTIVATIONS[config.get("feed_forward_proj", "relu")],
            "tied_head": tied,
            "dropout": config.get("dropout_rate", 0.1),
            "buckets": config.get("relative_attention_num_buckets", 32),
            "max_distance": config.get("relative_attention_max_distance", 128),
            "eps": config.get("layer_norm_epsilon", 1e-6),
        }
        theirs.setdefault("lm_head.weight", theirs["shared.weight"])
        names = _names(ModelConfig(**fields))
        state = {ours: torch.cat([theirs[name].float() for name in parts]) for ours, parts in names}
    except KeyError as error:
        raise UserError(
            f"the checkpoint has no {error.args[0]} (where: {folder}): give a T5 checkpoint that is whole"
        ) from None
    return fields, state


def local_folder(source: str | Path) -> Path:
    """The folder `source`, or that of the hub's checkpoint of this name, which is downloaded once."""
    return Path(source) if Path(source).is_dir() else _download(str(source))


def to_t5_state(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The backbone's weights under the names of `transformers`' T5, added tokens joined to the vocabulary.

    What T5 has no place for (mapping networks, whole-word and category embeddings) stays behind. Raises UserError for
    weights that a way of tuning added, and for items' rows of their own kind, which have no place either.
    """
    if any(config.peft.is_added(name) for name in state):
        raise UserError(f"a model tuned by {config.peft.method} is no T5: export one of peft.method=full")
    if config.item_rows:
        raise UserError(
            "a T5 cannot hold items' rows with content or scales of their own: export a run of prompts.history=prompt"
        )
    theirs: dict[str, Tensor] = {}
    for ours, parts in _names(config):
        theirs |= zip(parts, state[ours].chunk(len(parts)), strict=True)
    for ours, name in (("new_tokens.weight", "shared.weight"), ("new_head.weight", "lm_head.weight")):
        if ours in state:
            theirs[name] = torch.cat([theirs[name], state[ours]])
    return {name: weight.contiguous() for name, weight in theirs.items()}


def _names(config: ModelConfig) -> Iterator[tuple[str, list[str]]]:
    """Our name of each weight of the backbone, and theirs, whose rows are joined in ours."""
    yield "text_tokens.weight", ["shared.weight"]
    if not config.tied_head:
        yield "text_head.weight", ["lm_head.weight"]
    for stack, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        first = f"{stack}.block.0.layer.0.SelfAttention"
        yield f"{stack}.bias.weight", [f"{first}.relative_attention_bias.weight"]
        yield f"{stack}.norm.weight", [f"{stack}.final_layer_norm.weight"]
        for i in range(layers):
            sublayers = [("self_attention", "SelfAttention", {"qkv": "qkv", "out": "o"})]
            if stack == "decoder":
                sublayers.append(("cross_attention", "EncDecAttention", {"q": "q", "kv": "kv", "out": "o"}))
            for j, (ours, theirs, linears) in enumerate(sublayers):
                for linear, letters in linears.items():
                    parts = [f"{stack}.block.{i}.layer.{j}.{theirs}.{letter}.weight" for letter in letters]
                    yield f"{stack}.blocks.{i}.{ours}.body.{linear}.weight", parts
                yield f"{stack}.blocks.{i}.{ours}.norm.weight", [f"{stack}.block.{i}.layer.{j}.layer_norm.weight"]
            ours, theirs = f"{stack}.blocks.{i}.feed_forward", f"{stack}.block.{i}.layer.{len(sublayers)}"
            inner = ["wi_0", "wi_1"] if config.gated else ["wi"]
            yield f"{ours}.body.wi.weight", [f"{theirs}.DenseReluDense.{name}.weight" for name in inner]
            yield f"{ours}.body.wo.weight", [f"{theirs}.DenseReluDense.wo.weight"]
            yield f"{ours}.norm.weight", [f"{theirs}.layer_norm.weight"]


def _download(name: str) -> Path:
    try:
        folder = Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
        if not any((folder / file).exists() for file in WEIGHT_FILES):
            folder = Path(snapshot_download(name, allow_patterns=["*.json", "*.bin"]))
    except Exception as error:  # the hub's client lets through errors of several libraries, all of many lines
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"no folder and no model of the hub that can be reached: {name} ({reason}): give the path of a T5 folder"
        ) from None
    return folder


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = config.get("model_type")
    except FileNotFoundError:
        raise UserError(f"no config.json (where: {folder}): give the folder of a T5 checkpoint") from None
    except (ValueError, AttributeError):
        raise UserError(f"config.json is no JSON object (where: {path}): copy the checkpoint again") from None
    if kind not in FAMILY:
        raise UserError(f"model_type is {kind!r} (where: {path}): give a checkpoint of {' or '.join(FAMILY)}")
    if (form := config.get("feed_forward_proj", "relu")) not in ACTIVATIONS:
        raise UserError(f"feed_forward_proj is {form!r} (where: {path}): known are {', '.join(ACTIVATIONS)}")
    return config


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"no weights (where: {folder}): one of {', '.join(WEIGHT_FILES)} is needed")
    weights: dict[str, Tensor] = {}
    try:
        files = [path]
        if path.suffix == ".json":
            names = sorted(set(json.loads(path.read_text())["weight_map"].values()))
            if outside := [name for name in names if name in ("", ".", "..") or "/" in name or "\\" in name]:
                raise ValueError(f"{outside[0]!r} is no file of its folder")
            files = [folder / name for name in names]
        for path in files:
            weights |= load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except UnpicklingError:
        raise UserError(f"the file holds more than tensors (where: {path}): convert it to safetensors") from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"weights cannot be read ({reason}) (where: {path}): copy the checkpoint again") from None
    return weights
