"""A run folder: everything a trained VIP5 needs, loaded by path alone.

config.json, model.safetensors    the model                  run.json       configuration, data set and its hash
tokenizer.json, codes.parquet     how text and items read    prompts.toml   prompts of the user's own, if any
metrics.jsonl                     a line for each step       state.safetensors   to resume from; gone when finished
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vip5 import __version__
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.features import FeatureStore, open_features
from vip5.items import ItemCodes, Vocabulary, code_words, fit_codes
from vip5.model import VIP5, ModelConfig, backbone_size, load_backbone, load_model, save_model, start_from
from vip5.prompts import FieldTexts, Prompt, PromptCompiler, Samples, collate, load_prompts
from vip5.prompts.batch import Batch
from vip5.prompts.samples import SEPARATORS
from vip5.training.config import RunConfig

RUN_FILE = "run.json"
_CORPUS_LINES = 300_000  # names, titles and codes in a tokenizer's corpus, repetitions counted, at most about


@dataclass
class Run:
    """A model with all it needs to read prompts about one data set."""

    config: RunConfig
    dataset: Dataset
    features: FeatureStore | None
    prompts: dict[str, Prompt]
    codes: ItemCodes
    model: VIP5

    @property
    def texts(self) -> FieldTexts:
        atomic = self.config.codes.users == "atomic"
        return FieldTexts(self.dataset, self.codes, self.model.config.image_tokens, atomic)

    def compiler(self, ids: list[str]) -> PromptCompiler:
        """A compiler of the prompts with these ids."""
        for name in ids:
            if name not in self.prompts:
                raise UserError(f"unknown prompt {name}: there are {', '.join(self.prompts)}")
        part = self.config.prompts
        return PromptCompiler([self.prompts[name] for name in ids], self.texts, part.max_input, part.max_target)

    def batch(self, compiler: PromptCompiler, samples: Samples, targets: bool = False) -> Batch:
        """Samples as one padded batch."""
        return collate(
            compiler.inputs(samples),
            compiler.targets(samples) if targets else None,
            self.features,
            self.model.config.image_tokens,
        )

    def save(self, folder: Path) -> None:
        """Write what `load` reads; `run.json` comes last, so a folder that has it is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, folder)
        self.codes.vocabulary.save(folder)
        self.codes.save(folder, self.dataset.items["item"])
        if self.config.prompts.extra:
            shutil.copyfile(self.config.prompts.extra, folder / "prompts.toml")
        write_json(folder / RUN_FILE, self.description())

    def description(self) -> dict[str, Any]:
        """What run.json holds."""
        manifest = self.dataset.manifest
        return {
            "vip5": __version__,
            "dataset": {
                "path": str(self.dataset.path.resolve()),
                "name": manifest.name,
                "hash": self.dataset.hash,
                "protocol": manifest.protocol,
            },
            "features": None if self.features is None else self.features.fingerprint,
            "config": self.config.model_dump(),
        }

    @classmethod
    def load(cls, folder: str | Path, dataset: str | Path | None = None, device: str = "cpu") -> "Run":
        """Open a finished run; `dataset` names the dataset folder where it has moved."""
        folder = Path(folder)
        if not (folder / RUN_FILE).is_file():
            state = "its training is not finished" if (folder / "state.safetensors").is_file() else "it has no run.json"
            raise UserError(
                f"{folder} is not a finished run ({state}): train it with vip5 train DATASET --out {folder}"
            )
        about = json.loads((folder / RUN_FILE).read_text("utf-8"))
        data = open_dataset(dataset or about["dataset"]["path"], about["dataset"]["hash"])
        config = RunConfig.model_validate(about["config"])
        model = load_model(folder, device)
        store = _features(data, config, model.config.image_tokens)
        if store is not None and store.fingerprint != about["features"]:
            raise UserError(
                f"the features '{store.name}' of {data.path} are not those of this run (another encoder or other photos): "
                "encode them again as they were, or train again"
            )
        own = folder / "prompts.toml"
        return cls(
            config,
            data,
            store,
            load_prompts(own if own.is_file() else None),
            ItemCodes.load(folder, config.codes.scheme, Vocabulary.load(folder, model.config.text_vocab)),
            model.eval(),
        )

    @classmethod
    def new(cls, config: RunConfig, dataset: Dataset) -> "Run":
        """A model that is about to be trained: from scratch, from a T5, or from another run."""
        torch.manual_seed(config.seed)
        prompts = load_prompts(config.prompts.extra)
        store = _features(dataset, config, config.model.image_tokens)
        backbone = config.model.backbone
        if backbone is not None:
            codes, model = _from_backbone(config, dataset, store, backbone)
        else:
            vocabulary = (
                Vocabulary.load(config.model.tokenizer)
                if config.model.tokenizer
                else _train_vocabulary(config, dataset, prompts)
            )
            codes = fit_codes(config.codes.scheme, dataset, vocabulary)
            size = backbone_size(config.model.size) | {"text_vocab": vocabulary.size}
            model = VIP5(_model_config(size, config, dataset, codes, store))
        return cls(config, dataset, store, prompts, codes, model)


def open_dataset(path: str | Path, expected_hash: str) -> Dataset:
    """Open the data set that a run was trained on, and no other."""
    dataset = Dataset(path)
    if dataset.hash != expected_hash:
        raise UserError(
            f"{path} is not the data set of this run (hash {dataset.hash[:12]}, trained on {expected_hash[:12]}): "
            "give the right folder with --dataset"
        )
    return dataset


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside, then rename."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(aside, path)


def _features(dataset: Dataset, config: RunConfig, image_tokens: int) -> FeatureStore | None:
    if image_tokens == 0:
        return None
    store = open_features(dataset, config.features)
    if store is None:
        raise UserError(
            f"{dataset.path} has no photo features: run vip5 data encode {dataset.path} --encoder basic, "
            "or train on text alone with model.image_tokens=0"
        )
    return store


def _model_config(
    backbone: dict[str, Any], config: RunConfig, dataset: Dataset, codes: ItemCodes, store: FeatureStore | None
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
    return ModelConfig.model_validate(backbone | own | ({"feature_dim": store.dim} if store else {}))


def _from_backbone(
    config: RunConfig, dataset: Dataset, store: FeatureStore | None, source: str
) -> tuple[ItemCodes, VIP5]:
    """On a T5, or on a run of ours (the paper's step two: photos and adapters on a P5), whose codes then go on."""
    size, weights = load_backbone(source)
    vocabulary = Vocabulary.load(config.model.tokenizer or source, size["text_vocab"])
    codes = fit_codes(config.codes.scheme, dataset, vocabulary)
    if (Path(source) / RUN_FILE).is_file():
        about = json.loads((Path(source) / RUN_FILE).read_text("utf-8"))
        scheme = about["config"]["codes"]["scheme"]
        if about["dataset"]["hash"] != dataset.hash:
            raise UserError(f"the backbone {source} was trained on another data set: its item codes mean other items")
        if about["config"]["codes"] != config.codes.model_dump():
            wanted = " ".join(f"codes.{key}={value}" for key, value in about["config"]["codes"].items())
            raise UserError(f"the backbone {source} writes items or users in another way: give {wanted}")
        codes = ItemCodes.load(Path(source), scheme, vocabulary)
    model = VIP5(_model_config(size, config, dataset, codes, store))
    own = model.state_dict()
    added = {n for n in weights if n.startswith("visual.") or ".adapter." in n}  # a backbone's own ones, if they fit
    if any(n not in own or own[n].shape != weights[n].shape for n in added):
        weights = {n: w for n, w in weights.items() if n not in added}
    start_from(model, weights, source)
    return codes, model


def _train_vocabulary(config: RunConfig, dataset: Dataset, prompts: dict[str, Prompt]) -> Vocabulary:
    """A tokenizer of the prompts' words, the users' names and numbers, and the words of items and training reviews.

    Each counts about as often as training meets it; nothing of a held-out interaction is read."""
    history = dataset.history("train")
    thin = max(1.0, 3 * len(history.values) / _CORPUS_LINES)

    def often(texts: list[Any], counts: np.ndarray) -> list[str]:
        kept = np.ceil(counts / thin).astype(int)
        return [" ".join([str(text)] * n) for text, n in zip(texts, kept, strict=True) if text and n]

    users, items = dataset.users, dataset.items
    of_user = history.lengths
    of_item = np.bincount(history.values, minlength=dataset.n_items)
    lines = often([f"user_{n}" for n in range(1, len(users) + 1)], of_user)
    lines += often(users["name"].fill_null(users["user"]).to_list(), of_user)
    lines += often(items["title"].fill_null(items["item"]).to_list(), of_item)
    words = code_words(config.codes.scheme, dataset)
    lines += often([None if w.startswith("<") else w for w in words], of_item)
    reviews = dataset.reviews.filter(dataset.reviews["split"] == "train")
    for column in ("headline", "feature", "explanation"):
        lines += reviews[column].drop_nulls().to_list()
    wording = [" ".join(s for s in f"{p.input} {p.target}".split() if "{" not in s) for p in prompts.values()]
    for text in (*wording, "item_ yes no", *SEPARATORS * 20):
        lines += [" ".join([text] * 100)] * max(1, len(users) // 100)
    return Vocabulary.train(lines, config.model.tokenizer_size)
