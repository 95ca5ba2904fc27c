"""A trained model with all that it needs to answer, in a folder of its own.

run.json                          what it is, its settings, the data set it was trained on
config.json, model.safetensors    the model
tokenizer.json, codes.parquet     how text and items are read and written
prompts.toml                      prompts of the user's own, if any
catalogue/                        items, people, where photos lie
modalities/NAME/                  the items' vectors
terms.safetensors                 what items score beside the network, if anything
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import torch

from vip5 import __version__
from vip5.data import Ragged
from vip5.data.catalogue import Catalogue
from vip5.errors import UserError
from vip5.files import write_json, write_text
from vip5.items import ItemCodes, Trie, Vocabulary
from vip5.modalities import ModalityStore, copy_store, open_store
from vip5.model import VIP5, ModelInput, load_model, save_model, to_int8
from vip5.model.rows import RowContent
from vip5.model.terms import ScoreTerms
from vip5.predict.config import AnswerConfig
from vip5.predict.folder import CATALOGUE, FORMAT, STORES, learnt_tasks, read_run
from vip5.prompts import FieldTexts, Prompt, PromptCompiler, Samples, collate, load_prompts
from vip5.runs import RUN_FILE

PROMPTS, TERMS = "prompts.toml", "terms.safetensors"
_TRIES = 32  # of parts of the catalogue, such as a category, that are kept


@dataclass(kw_only=True)
class TrainedModel:
    """A model with its codes, its catalogue and its prompts. Several threads may ask it at once."""

    config: AnswerConfig
    catalogue: Catalogue
    stores: dict[str, ModalityStore]  # by modality, in the order of the model's
    prompts: dict[str, Prompt]
    codes: ItemCodes
    model: VIP5
    terms: ScoreTerms | None = None  # what items score beside the network
    learnt: frozenset[str] | None = None  # tasks that its training had samples of; None where its folder does not say
    extra_prompts: str | None = None  # the text of a file of prompts of the user's own
    _compilers: dict[tuple[str, ...], PromptCompiler] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    @property
    def tokens(self) -> dict[str, int]:
        """How many tokens an item has in each modality."""
        return {modality.name: modality.tokens for modality in self.model.config.modalities if modality.tokens}

    @property
    def texts(self) -> FieldTexts:
        return FieldTexts(self.catalogue, self.codes, self.tokens, self.config.codes.users == "atomic")

    @cached_property
    def trie(self) -> Trie:
        """The trie of the whole catalogue, on the model's device."""
        return Trie.build(self.codes.targets()).to(self.device)

    def trie_of(self, items: np.ndarray) -> Trie:
        """The trie of some items, int [n], each once; the last few asked for are kept."""
        return self._trie_of(np.asarray(items, np.int64).tobytes())

    @cached_property
    def _trie_of(self) -> Callable[[bytes], Trie]:
        codes = self.codes.targets()

        @lru_cache(_TRIES)
        def build(items: bytes) -> Trie:
            rows = np.frombuffer(items, np.int64)
            return Trie.build(codes[rows], rows).to(self.device)

        return build

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def compiler(self, ids: list[str]) -> PromptCompiler:
        """A compiler of the prompts with these ids; its tables are kept for the next call."""
        with self._lock:
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
        """Samples as one padded batch. What they have in `then` comes before the answer, in as many tokens for each."""
        wanted = compiler.targets(samples) if targets else None
        batch = collate(compiler.inputs(samples), wanted, self.tokens, self.stores)
        if len(samples.then.values) and not targets:
            batch.past_ids = self.written(samples.then)[0]
        return batch

    def written(self, items: Ragged) -> tuple[torch.Tensor, int]:
        """The codes of each row's items, one after the other without `</s>`: int64 [n, T], padded with 0, and how many
        tokens these are."""
        code, length = self._codes
        tokens, lengths = code[items.values], length[items.values]
        inside = np.arange(code.shape[1]) < lengths[:, None]
        row_lengths = self.n_written(items)
        ids = np.zeros((len(items), int(row_lengths.max(initial=0))), np.int64)
        ids[np.arange(ids.shape[1]) < row_lengths[:, None]] = tokens[inside]
        return torch.from_numpy(ids), int(row_lengths.sum())

    def n_written(self, items: Ragged) -> np.ndarray:
        """int64 [n]: how many tokens `written` has in each row."""
        lengths = self._codes[1][items.values]
        return np.bincount(items.rows, weights=lengths, minlength=len(items)).astype(np.int64)

    @cached_property
    def _codes(self) -> tuple[np.ndarray, np.ndarray]:
        """The codes int64 [n_items, T], and the length of each without `</s>`."""
        codes = self.codes.targets()
        return codes, (codes > 1).sum(axis=1)

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write what `load` reads; `run.json`, with `about`, comes last, so a folder that has it is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.model, folder)
        self.codes.vocabulary.save(folder)
        self.codes.save(folder, self.catalogue.items["item"])
        self.catalogue.save(folder / CATALOGUE)
        for name, store in self.stores.items():
            copy_store(store, folder / STORES / name)
        if self.terms is not None:
            self.terms.save(folder / TERMS)
        if self.extra_prompts is not None:
            write_text(folder / PROMPTS, self.extra_prompts)
        write_json(folder / RUN_FILE, {"vip5": __version__, "format": FORMAT, "kind": "model", **about})

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", int8: bool = False) -> "TrainedModel":
        """Open a finished run by its folder alone; `int8` makes a CPU faster.

        Raises: UserError for a folder that holds no finished run of a model, or one of an earlier version.
        """
        folder = Path(folder)
        about = read_run(folder, "model")
        config = AnswerConfig.model_validate(about["config"])
        catalogue, model = Catalogue.load(folder / CATALOGUE), load_model(folder, device)
        own = folder / PROMPTS
        names = list(config.modalities)
        stores = {name: open_store(folder / STORES / name, catalogue.n_items) for name in names}
        codes = ItemCodes.load(folder, Vocabulary.load(folder, model.config.text_vocab))
        bind_rows(model, codes, stores)
        terms = None
        if config.has_terms:
            terms = ScoreTerms.load(folder / TERMS, scored_vectors(config, stores), catalogue.n_items).to(device)
        return cls(
            config=config,
            catalogue=catalogue,
            stores=stores,
            prompts=load_prompts(own if own.is_file() else None),
            codes=codes,
            model=to_int8(model) if int8 else model,
            terms=terms,
            learnt=learnt_tasks(about),
            extra_prompts=own.read_text("utf-8") if own.is_file() else None,
        )


def bind_rows(model: VIP5, codes: ItemCodes, stores: Mapping[str, ModalityStore], fit: bool = False) -> None:
    """Put the vectors that are part of items' rows into a model; `fit`: of a new one, which is to be trained.

    An item's vectors go to its own token, which is not its place in the catalogue where items came later.
    """
    if not model.row_content:
        return
    token = codes.targets()[:, 0] - model.config.text_vocab
    for name, content in cast(Mapping[str, RowContent], model.row_content).items():
        vectors, present = (torch.from_numpy(np.array(x)) for x in (stores[name].matrix, stores[name].mask))
        if fit:
            content.fit(vectors, present)
        of_token = vectors.new_zeros(model.config.new_tokens, vectors.shape[1])
        there = torch.zeros(model.config.new_tokens, dtype=torch.bool)
        of_token[token], there[token] = vectors, present
        content.bind(of_token, there)


def scored_vectors(
    config: AnswerConfig, stores: Mapping[str, ModalityStore]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The vectors, and which are there, of the modalities that are terms of items' scores."""
    return {name: (stores[name].matrix, stores[name].mask) for name, part in config.modalities.items() if part.score}
