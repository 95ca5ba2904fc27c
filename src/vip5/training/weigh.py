"""What is done to a trained model: items that were never taken forget what they learnt, and the terms of its scores are
chosen."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vip5.data import Dataset
from vip5.modalities.texts import item_texts
from vip5.model.chosen import Judged, affordable, choose
from vip5.model.terms import ScoreTerms
from vip5.predict.lists import item_scores
from vip5.predict.model import TrainedModel, scored_vectors


@torch.no_grad()
def forget_untaught(run: TrainedModel, dataset: Dataset) -> None:
    """Leave content alone in the rows of items that nobody took in the training part, where rows hold content.

    They only ever stood among the wrong ones, so what such a row learns is to be unlikely. Read or asked for, it
    misleads.
    """
    if run.model.row_content:
        assert run.model.new_tokens is not None
        taken_I = np.bincount(dataset.history("train").values, minlength=dataset.n_items)
        run.model.new_tokens.weight[torch.from_numpy(taken_I == 0)] = 0
        run.model.eval()  # rows that were kept are worked out anew


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
