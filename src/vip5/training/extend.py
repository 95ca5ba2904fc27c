"""A trained model for the shop of today, without any training."""

from pathlib import Path

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
    run.model.eval()
    if old.terms is not None:
        vectors = scored_vectors(config, run.stores)
        history, texts = dataset.history("train"), item_texts(dataset.items)
        new = ~dataset.items["item"].is_in(old.catalogue.items["item"].to_list()).to_numpy()
        run.terms = old.terms.renewed(history, dataset.n_items, vectors, texts, new)
    return run
