"""The model that a run starts with: from scratch, from a T5, or from another run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from vip5.data import Dataset
from vip5.data.catalogue import Catalogue
from vip5.errors import UserError, first_fault
from vip5.items import ItemCodes, Vocabulary, fit_codes
from vip5.modalities import ModalityStore, open_modality
from vip5.model import VIP5, ModelConfig, backbone_size, load_backbone, local_folder, start_from
from vip5.predict.folder import CATALOGUE, is_finished, read_run
from vip5.predict.model import bind_rows
from vip5.prompts import Prompt
from vip5.prompts.tokenizer import train_vocabulary
from vip5.training.config import RunConfig
from vip5.training.going_on import codes_of_run, weights_of_run


@dataclass(frozen=True)
class Started:
    """The catalogue, its item codes, a model and its items' vectors, ready to be trained."""

    catalogue: Catalogue
    codes: ItemCodes
    model: VIP5
    stores: dict[str, ModalityStore]


def start_model(config: RunConfig, dataset: Dataset, prompts: Mapping[str, Prompt]) -> Started:
    """The codes and the model of a configuration.

    Raises: UserError where a modality is not encoded, or the backbone does not fit the configuration.
    """
    stores = {name: _opened(dataset, name) for name in config.modalities}
    if config.model.backbone is not None:
        return _from_backbone(config, dataset, stores, config.model.backbone)
    given = config.model.tokenizer
    vocabulary = Vocabulary.load(given) if given else train_vocabulary(dataset, prompts, config.model.tokenizer_size)
    codes = fit_codes(config.codes, dataset, vocabulary, stores, config.seed)
    size = backbone_size(config.model.size) | {"text_vocab": vocabulary.size}
    model = VIP5(_model_config(size, config, dataset, codes, stores))
    _start_like_content(model, codes, stores)
    bind_rows(model, codes, stores, fit=True)
    return Started(Catalogue.of(dataset), codes, model, stores)


def _opened(dataset: Dataset, name: str) -> ModalityStore:
    try:
        return open_modality(dataset, name)
    except UserError as error:
        raise UserError(f"{error}, or train without it: modalities.{name}=none") from None


def _model_config(
    backbone: dict[str, Any],
    config: RunConfig,
    dataset: Dataset,
    codes: ItemCodes,
    stores: Mapping[str, ModalityStore],
) -> ModelConfig:
    if rows := [name for name, part in config.modalities.items() if part.row]:
        if codes.scheme != "atomic":
            raise UserError(
                f"modalities.{rows[0]}.row is for items with one token each: give codes.scheme=atomic, or "
                f"modalities.{rows[0]}.row=false"
            )
        if config.prompts.history != "decoder":
            raise UserError(
                f"modalities.{rows[0]}.row is for histories in the decoder: give prompts.history=decoder, or "
                f"modalities.{rows[0]}.row=false"
            )
    if config.model.copy_words and config.prompts.history != "decoder":
        raise UserError(
            "model.copy_words is for histories in the decoder: give prompts.history=decoder, or model.copy_words=false"
        )
    own: dict[str, Any] = {
        "new_tokens": len(codes.new_tokens),
        "user_tokens": dataset.n_users if config.codes.users == "atomic" else 0,
        "dropout": config.model.dropout,
        "modalities": [
            {"name": name, "dim": stores[name].dim, "tokens": part.tokens, "in_row": part.row}
            for name, part in config.modalities.items()
            if part.tokens or part.row or not part.score
        ],
        "item_rows": config.prompts.history == "decoder",
        "copy_words": config.model.copy_words,
        "peft": config.peft,
        "train_word_category": config.model.train_word_category,
    }
    try:
        return ModelConfig.model_validate(backbone | own)
    except ValidationError as error:
        raise UserError(f"configuration: {first_fault(error)[1]}") from None


def _from_backbone(config: RunConfig, dataset: Dataset, stores: dict[str, ModalityStore], source: str) -> Started:
    """On a T5, or on a run of ours, on the same data (the paper's step two: photos and adapters on a P5) or newer ones.

    A mapping network of another shape (k, or the vectors' width) starts anew; what tuning added to the backbone must be
    what this configuration adds.
    """
    folder = local_folder(source)
    known = None
    if is_finished(folder):
        read_run(folder, "model")  # which refuses what is none before any weight is read
        known = Catalogue.load(folder / CATALOGUE)
    size, weights = load_backbone(folder)
    vocabulary = Vocabulary.load(config.model.tokenizer or folder, size["text_vocab"])
    if known is not None:
        codes = codes_of_run(folder, known, config, dataset, vocabulary, stores)
    else:
        codes = fit_codes(config.codes, dataset, vocabulary, stores, config.seed)
    model = VIP5(_model_config(size, config, dataset, codes, stores))
    if known is not None:
        weights = weights_of_run(folder, known, weights, model, dataset)
    start_from(model, weights, source)
    bind_rows(model, codes, stores, fit=known is None)
    return Started(Catalogue.of(dataset, known), codes, model, stores)


@torch.no_grad()
def _start_like_content(model: VIP5, codes: ItemCodes, stores: Mapping[str, ModalityStore]) -> None:
    """Start each item's own token half at random and half as its first modality shows it, at the usual variance.

    Items that look alike then start alike, where the decoder writes them too. The vectors' d_model widest directions
    are kept, as they lie (PCA without whitening); an item without a vector stays at random.
    """
    if not stores or codes.scheme != "atomic" or model.new_tokens is None or model.config.item_rows:
        return
    store = next(iter(stores.values()))
    shown = np.flatnonzero(store.mask)
    vectors = torch.from_numpy(store.gather(shown)[0]).double()
    vectors -= vectors.mean(dim=0)
    _, directions = torch.linalg.eigh(vectors.T @ vectors)
    looks = vectors @ directions[:, -model.config.d_model :]
    looks = torch.nn.functional.pad(looks, (0, model.config.d_model - looks.shape[1]))
    looks /= looks.pow(2).mean(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
    weight = model.new_tokens.weight
    weight[shown] = ((weight[shown] + looks) * 0.5**0.5).to(weight.dtype)
