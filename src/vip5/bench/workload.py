"""What is measured on: a data set, or a generated shop, and a model of a given size with random weights."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vip5.data import Dataset, prepare
from vip5.data.catalogue import Catalogue
from vip5.demo import write_demo
from vip5.items import Vocabulary, fit_codes
from vip5.modalities import ModalityStore
from vip5.model import VIP5, Adapters, Full, ModelConfig, backbone_size, local_folder
from vip5.prompts import load_prompts
from vip5.prompts.tokenizer import train_vocabulary
from vip5.training import Run, load_config

VECTOR_DIM = 512


@contextmanager
def dataset_or_demo(folder: Path | None) -> Iterator[Dataset]:
    """The data set in `folder`, or, where none is named, a generated shop of 600 users and 400 items."""
    if folder is not None:
        yield Dataset(folder)
        return
    with tempfile.TemporaryDirectory() as place:
        write_demo(Path(place) / "shop")
        interactions, items, reviews = (Path(place) / f"shop/{n}.csv" for n in ("interactions", "items", "reviews"))
        yield prepare(Path(place) / "data", interactions=interactions, items=items, reviews=reviews)


def random_run(
    dataset: Dataset,
    size: str = "small",
    tokenizer: str | None = None,
    scheme: str = "sequential",
    *,
    peft: Full | Adapters | None = None,
    optim: dict[str, Any] | None = None,
    store: ModalityStore | None = None,
    seed: int = 0,
) -> Run:
    """A run of recipe `paper`, but for what is given, whose weights are random: as fast as a trained one.

    It has two tokens a photo; where no `store` is given, the photos' vectors are random too. The vocabulary has as many
    rows as T5's of this size, though a tokenizer that is trained on the data has fewer tokens.
    """
    overrides = [f"codes.scheme={scheme}", "peft.method=full", f"model.size={size}", f"seed={seed}"]
    overrides += [f"optim.{key}={value}" for key, value in (optim or {}).items()]
    config, prompts = load_config("paper", overrides=overrides), load_prompts()
    given = tokenizer and Vocabulary.load(local_folder(tokenizer))
    tokens = (given or train_vocabulary(dataset, prompts, config.model.tokenizer_size)).tokenizer
    vocabulary = Vocabulary(tokens, max(backbone_size(size)["text_vocab"], tokens.get_vocab_size()))
    if store is None:
        matrix = np.random.default_rng(seed).standard_normal((dataset.n_items, VECTOR_DIM), dtype=np.float32)
        store = ModalityStore("photo", "photo", VECTOR_DIM, "random", matrix, np.ones(dataset.n_items, bool))
    stores = {store.name: store}
    codes = fit_codes(config.codes, dataset, vocabulary, stores, seed)
    photo = {"name": store.name, "dim": store.dim, "tokens": config.modalities["photo"].tokens}
    own = {"text_vocab": vocabulary.size, "new_tokens": len(codes.new_tokens), "modalities": [photo]}
    torch.manual_seed(seed)
    model = VIP5(ModelConfig.model_validate(backbone_size(size) | own | {"peft": peft or Full()})).eval()
    return Run(
        config=config, catalogue=Catalogue.of(dataset), stores=stores, prompts=prompts, codes=codes, model=model,
        dataset=dataset,
    )  # fmt: skip
