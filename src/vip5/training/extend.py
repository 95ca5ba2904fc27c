"""A trained model for the shop of today, without any training."""

from pathlib import Path

import numpy as np
import polars as pl
import torch

from vip5.data import Dataset
from vip5.modalities.texts import item_texts
from vip5.predict.folder import read_run
from vip5.predict.model import TrainedModel, scored_vectors
from vip5.training.config import RunConfig
from vip5.training.run import Run


def extend(folder: Path, dataset: Dataset) -> Run:
    """The model of a finished run with the items and people of a newer data set; its `finish` writes a run folder.

    What was learnt of items and people stays theirs, by raw id. An item that came since is what its vectors say, where
    rows hold these. Transitions and the other terms of the score are counted anew, and weigh what they did; where there
    are any, a new item stands where its content alone would put it.

    Raises: UserError where the data set lacks vectors that the model reads, or its codes cannot take new items.
    """
    old = TrainedModel.load(folder)
    config = RunConfig.model_validate(read_run(folder, "model")["config"])
    backbone = config.model.model_copy(update={"backbone": str(folder), "tokenizer": None})
    run = Run.new(config.model_copy(update={"model": backbone}), dataset)
    run.learnt = old.learnt
    if run.model.user_tokens is not None:
        _be_average(run, old)
    run.model.eval()
    if old.terms is not None:
        vectors = scored_vectors(config, run.stores)
        history, texts = dataset.history("train"), item_texts(dataset)
        run.terms = old.terms.renewed(history, dataset.n_items, vectors, texts, _untaught(old, dataset))
    return run


def _untaught(old: TrainedModel, dataset: Dataset) -> np.ndarray:
    """Which items came after the training, bool [n_items]; those of an earlier extension are among them."""
    assert old.terms is not None
    known = old.catalogue.items["item"]
    taught = known if old.terms.new is None else known.filter(pl.Series(~old.terms.new.cpu().numpy()))
    return ~dataset.items["item"].is_in(taught.to_list()).to_numpy()


@torch.no_grad()
def _be_average(run: Run, old: TrainedModel) -> None:
    """Give people of whom nothing was learnt the mean of the rows of the others."""
    assert run.model.user_tokens is not None
    known = torch.from_numpy(run.dataset.users["user"].is_in(old.catalogue.users["user"].to_list()).to_numpy())
    weight = run.model.user_tokens.weight
    weight[~known] = weight[known].mean(dim=0)
