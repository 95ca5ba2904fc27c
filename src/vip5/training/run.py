"""A run folder: everything a trained VIP5 needs, loaded by path alone.

config.json, model.safetensors    the model                  run.json       configuration, data set and its hash
tokenizer.json, codes.parquet     how text and items read    prompts.toml   prompts of the user's own, if any
metrics.jsonl                     a line for each step       state.safetensors   to resume from; gone when finished
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from vip5 import __version__
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.files import write_json
from vip5.items import ItemCodes, Trie, Vocabulary
from vip5.modalities import ModalityStore, open_modality
from vip5.modalities.store import read_about
from vip5.model import VIP5, load_model, save_model, to_int8
from vip5.model.input import ModelInput
from vip5.prompts import FieldTexts, Prompt, PromptCompiler, Samples, collate, load_prompts
from vip5.runs import RUN_FILE
from vip5.training.config import RunConfig
from vip5.training.start import read_run, start_model


@dataclass
class Run:
    """A model with all it needs to read prompts about one data set."""

    config: RunConfig
    dataset: Dataset
    features: ModalityStore | None
    prompts: dict[str, Prompt]
    codes: ItemCodes
    model: VIP5
    extra_prompts: str | None = None  # the text of a file of prompts of the user's own
    _compilers: dict[tuple[str, ...], PromptCompiler] = field(default_factory=dict, repr=False)

    @property
    def texts(self) -> FieldTexts:
        atomic = self.config.codes.users == "atomic"
        return FieldTexts(self.dataset, self.codes, self.model.config.image_tokens, atomic)

    @cached_property
    def trie(self) -> Trie:
        """The trie of the whole catalogue, on the model's device."""
        return Trie.build(self.codes.targets()).to(self.device)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def compiler(self, ids: list[str]) -> PromptCompiler:
        """A compiler of the prompts with these ids; its tables are kept for the next call."""
        key = tuple(ids)
        if key not in self._compilers:
            self._compilers[key] = self._new_compiler(ids)
        return self._compilers[key]

    def _new_compiler(self, ids: list[str]) -> PromptCompiler:
        for name in ids:
            if name not in self.prompts:
                raise UserError(f"unknown prompt {name}: there are {', '.join(self.prompts)}")
        part = self.config.prompts
        return PromptCompiler([self.prompts[name] for name in ids], self.texts, part.max_input, part.max_target)

    def batch(self, compiler: PromptCompiler, samples: Samples, targets: bool = False) -> ModelInput:
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
        if self.extra_prompts is not None:
            (folder / "prompts.toml").write_text(self.extra_prompts, "utf-8")
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
            "tokenizer": hashlib.blake2b(self.codes.vocabulary.tokenizer.to_str().encode(), digest_size=16).hexdigest(),
            "extra_prompts": self.extra_prompts,
            "config": self.config.model_dump(),
        }

    @classmethod
    def load(
        cls, folder: str | Path, dataset: str | Path | None = None, device: str = "cpu", int8: bool = False
    ) -> "Run":
        """Open a finished run; `dataset` names the dataset folder where it has moved, `int8` makes a CPU faster."""
        folder = Path(folder)
        if not (folder / RUN_FILE).is_file():
            state = "its training is not finished" if (folder / "state.safetensors").is_file() else "it has no run.json"
            raise UserError(
                f"{folder} is not a finished run ({state}): train it with vip5 train DATASET --out {folder}"
            )
        about = read_run(folder)
        if dataset is None and not Path(about["dataset"]["path"]).is_dir():
            raise UserError(f"the data set of {folder} is not at {about['dataset']['path']}: name it with --dataset")
        data = open_dataset(dataset or about["dataset"]["path"], about["dataset"]["hash"])
        config = RunConfig.model_validate(about["config"])
        model = load_model(folder, device)
        store = _features(data, config, model.config.image_tokens, about["features"])
        if store is not None and store.fingerprint != about["features"]:
            raise UserError(
                f"the features '{store.name}' of {data.path} are not those of this run (another encoder or other "
                "photos): encode them again as they were, or train again"
            )
        own = folder / "prompts.toml"
        return cls(
            config,
            data,
            store,
            load_prompts(own if own.is_file() else None),
            ItemCodes.load(folder, Vocabulary.load(folder, model.config.text_vocab)),
            to_int8(model.eval()) if int8 else model.eval(),
        )

    @classmethod
    def new(cls, config: RunConfig, dataset: Dataset) -> "Run":
        """A model that is about to be trained: from scratch, from a T5, or from another run."""
        torch.manual_seed(config.seed)
        prompts = load_prompts(config.prompts.extra)
        store = _features(dataset, config, config.model.image_tokens)
        codes, model = start_model(config, dataset, store, prompts)
        extra = Path(config.prompts.extra).read_text("utf-8") if config.prompts.extra else None
        return cls(config, dataset, store, prompts, codes, model, extra)


def open_dataset(path: str | Path, expected_hash: str) -> Dataset:
    """Open the data set that a run was trained on, and no other."""
    dataset = Dataset(path)
    if dataset.hash != expected_hash:
        raise UserError(
            f"{path} is not the data set of this run (hash {dataset.hash[:12]}, trained on {expected_hash[:12]}): "
            "give the right folder with --dataset"
        )
    return dataset


def _features(
    dataset: Dataset, config: RunConfig, image_tokens: int, fingerprint: str | None = None
) -> ModalityStore | None:
    if image_tokens == 0:
        return None
    store = open_modality(dataset, config.features or _features_by(fingerprint, dataset))
    if store is None:
        raise UserError(
            f"{dataset.path} has no photo features: run vip5 data encode {dataset.path} --encoder basic, "
            "or train on text alone with model.image_tokens=0"
        )
    return store


def _features_by(fingerprint: str | None, dataset: Dataset) -> str | None:
    """The name of the features with this fingerprint: those of other encoders may have come beside a run's own."""
    for folder in sorted((dataset.path / "modalities").glob("[!.]*")):
        about = read_about(folder)
        if about is not None and about["fingerprint"] == fingerprint:
            return folder.name
    return None
