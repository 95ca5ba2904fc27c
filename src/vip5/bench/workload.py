"""What is measured on: a data set, or a generated shop, and a model of a given size with random weights."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from vip5.data import Dataset, prepare
from vip5.data.demo import write_demo
from vip5.features import FeatureStore
from vip5.prompts import load_prompts
from vip5.training import Run, load_config
from vip5.training.start import start_model

FEATURE_DIM = 512


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
    dataset: Dataset, size: str = "small", tokenizer: str | None = None, scheme: str = "sequential", seed: int = 0
) -> Run:
    """A run of two image tokens whose weights and photo features are random: as fast as a trained one.

    Everything is trained and nothing adapted, so that a T5 of another library can compute the same.
    """
    overrides = [f"codes.scheme={scheme}", "model.adapter.mode=full", "model.image_tokens=2", f"seed={seed}"]
    overrides += ["codes.users=text", f"model.size={size}"] + ([f'model.tokenizer="{tokenizer}"'] if tokenizer else [])
    config = load_config("small", overrides=overrides)
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((dataset.n_items, FEATURE_DIM), dtype=np.float32)
    store = FeatureStore("random", FEATURE_DIM, "random", matrix, np.ones(dataset.n_items, bool))
    torch.manual_seed(seed)
    prompts = load_prompts()
    codes, model = start_model(config, dataset, store, prompts)
    return Run(config, dataset, store, prompts, codes, model.eval())
