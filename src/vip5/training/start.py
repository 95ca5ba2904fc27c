"""The model that a run starts with: from scratch, from a T5, or from another run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ValidationError

from vip5.data import Dataset
from vip5.errors import UserError, first_fault
from vip5.items import ItemCodes, Vocabulary, fit_codes
from vip5.modalities import ModalityStore
from vip5.model import VIP5, ModelConfig, backbone_size, load_backbone, local_folder, start_from
from vip5.prompts import Prompt
from vip5.prompts.tokenizer import train_vocabulary
from vip5.runs import RUN_FILE
from vip5.training.config import RunConfig


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` says of a run; UserError where it is not whole."""
    try:
        about = json.loads((folder / RUN_FILE).read_text("utf-8"))
        if "baseline" in about:
            raise UserError(f"{folder} is the run of a baseline, {about['baseline']}: give that of a trained model")
        RunConfig.model_validate(about["config"])
        return about
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder / RUN_FILE} is damaged or of another version ({reason}): train again") from None


def start_model(
    config: RunConfig, dataset: Dataset, store: ModalityStore | None, prompts: dict[str, Prompt]
) -> tuple[ItemCodes, VIP5]:
    """Item codes and a model, ready to be trained."""
    part = config.model
    if part.backbone is not None:
        return _from_backbone(config, dataset, store, part.backbone)
    given = part.tokenizer
    vocabulary = Vocabulary.load(given) if given else train_vocabulary(dataset, prompts, part.tokenizer_size)
    codes = fit_codes(config.codes, dataset, vocabulary, store, config.seed)
    size = backbone_size(part.size) | {"text_vocab": vocabulary.size}
    model = VIP5(_model_config(size, config, dataset, codes, store))
    _show_photos(model, codes, store)
    return codes, model


def _model_config(
    backbone: dict[str, Any], config: RunConfig, dataset: Dataset, codes: ItemCodes, store: ModalityStore | None
) -> ModelConfig:
    part = config.model
    own: dict[str, Any] = {
        "new_tokens": len(codes.new_tokens),
        "user_tokens": dataset.n_users if config.codes.users == "atomic" else 0,
        "dropout": part.dropout,
        "image_tokens": part.image_tokens,
        "adapter": part.adapter,
        "train_word_category": part.train_word_category,
    }
    try:
        return ModelConfig.model_validate(backbone | own | ({"feature_dim": store.dim} if store else {}))
    except ValidationError as error:
        raise UserError(f"configuration: {first_fault(error)[1]}") from None


def _from_backbone(
    config: RunConfig, dataset: Dataset, store: ModalityStore | None, source: str
) -> tuple[ItemCodes, VIP5]:
    """On a T5, or on a run of ours (the paper's step two: photos and adapters on a P5), whose codes then go on.

    A mapping network of another shape (k, or the features' width) starts anew; adapters must be those of the backbone.
    """
    folder = local_folder(source)
    size, weights = load_backbone(folder)
    vocabulary = Vocabulary.load(config.model.tokenizer or folder, size["text_vocab"])
    if (folder / RUN_FILE).is_file():
        about = read_run(folder)
        if about["dataset"]["hash"] != dataset.hash:
            raise UserError(f"the backbone {source} was trained on another data set: its item codes mean other items")
        theirs = RunConfig.model_validate(about["config"]).codes
        if theirs != config.codes:
            wanted = " ".join(f"codes.{key}={value}" for key, value in _differing(theirs, config.codes))
            raise UserError(f"the backbone {source} writes items or users in another way: give {wanted}")
        codes = ItemCodes.load(folder, vocabulary)
    else:
        codes = fit_codes(config.codes, dataset, vocabulary, store, config.seed)
    model = VIP5(_model_config(size, config, dataset, codes, store))
    own = model.state_dict()
    visual = {name for name in weights if name.startswith("visual.")}
    if any(name not in own or own[name].shape != weights[name].shape for name in visual):
        weights = {name: weight for name, weight in weights.items() if name not in visual}
    if any(name not in own for name in weights if ".adapter." in name):
        raise UserError(f"the backbone {source} has adapters: go on with its model.adapter, or take the one below it")
    start_from(model, weights, source)
    return codes, model


def _differing(wanted: BaseModel, given: BaseModel, above: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of one that the other has otherwise, by their dotted names."""
    for name in type(wanted).model_fields:
        ours, theirs = getattr(wanted, name), getattr(given, name)
        if isinstance(ours, BaseModel):
            yield from _differing(ours, theirs, f"{above}{name}.")
        elif ours != theirs:
            yield f"{above}{name}", ours


@torch.no_grad()
def _show_photos(model: VIP5, codes: ItemCodes, store: ModalityStore | None) -> None:
    """Start each item's own token half at random and half as what its photo shows, at the usual variance.

    Items that look alike then start alike, where the decoder writes them too. The features' d_model widest directions
    are kept, as they lie (PCA without whitening); an item without a photo stays at random.
    """
    if store is None or codes.scheme != "atomic" or model.new_tokens is None:
        return
    shown = np.flatnonzero(store.mask)
    features = torch.from_numpy(store.gather(shown)[0]).double()
    features -= features.mean(dim=0)
    _, directions = torch.linalg.eigh(features.T @ features)
    looks = features @ directions[:, -model.config.d_model :]
    looks = torch.nn.functional.pad(looks, (0, model.config.d_model - looks.shape[1]))
    looks /= looks.pow(2).mean(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
    weight = model.new_tokens.weight
    weight[shown] = ((weight[shown] + looks) * 0.5**0.5).to(weight.dtype)
