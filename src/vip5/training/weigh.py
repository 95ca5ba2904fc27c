"""The terms of a trained model's scores, with what the validation part chooses of them."""

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from vip5.data import Dataset
from vip5.modalities.texts import item_texts
from vip5.model.chosen import Judged, affordable, choose
from vip5.model.terms import ScoreTerms
from vip5.predict.lists import item_scores
from vip5.predict.model import TrainedModel, scored_vectors


def weigh(run: TrainedModel, dataset: Dataset, prompt: str, people: int) -> None:
    """Give a trained model its terms, by so many people of the validation part at most. Without one no term counts."""
    config = run.config
    vectors, texts = scored_vectors(config, run.stores), item_texts(dataset)
    run.terms = ScoreTerms.of(config.scores, dataset.history("train"), dataset.n_items, vectors, texts).to(run.device)
    users = dataset.tested("validation")
    if not len(users):
        return
    most = min(affordable(people, dataset.n_items), len(users))
    users = users[np.unique(np.linspace(0, len(users) - 1, most).astype(int))]
    histories = dataset.history("validation").take(users)

    def roots(rows: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
        for part, log_p_NI in item_scores(run, prompt, users[rows], histories.take(rows)):
            yield part, (log_p_NI / 2).exp_()

    choose(run.terms, Judged(histories, dataset.targets("validation")[users], dataset.buys_again, roots))
