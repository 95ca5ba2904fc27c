"""What a model in training is worth on the validation part: the score that an epoch is chosen by."""

import numpy as np
import torch

from vip5.baselines.validation import Validation
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.predict.lists import next_items
from vip5.prompts import Samples
from vip5.prompts.lengths import longest_first, of_like_length
from vip5.prompts.reviews import explainable, fillable, stars_in_tenths
from vip5.training.run import Run

_CUTOFF = 10
_TOKENS = 4_096  # input tokens at once: each has some of the text head's 32,000 numbers


def validation_score(run: Run, dataset: Dataset, most: int, beams: int = 20) -> dict[str, float]:
    """What the validation part says of a model, the score to choose by first; of `most` people or reviews at most.

    NDCG@10 and HR@10 of next items over the whole catalogue; where no prompt of that task is trained, the mean
    log-likelihood of a token of the true explanations, in nats.

    Raises: UserError where there is nobody, or no prompt of either task.
    """
    seen = run.config.prompts.train or [n for n, p in run.prompts.items() if not p.unseen]
    learnt = ("next", "explain") if run.learnt is None else run.learnt  # another task's scores would be of chance
    of_task = {
        task: [n for n in seen if run.prompts[n].task == task and task in learnt] for task in ("next", "explain")
    }
    if of_task["next"]:
        return _of_next_items(run, dataset, "A-3" if "A-3" in of_task["next"] else of_task["next"][0], most, beams)
    if of_task["explain"]:
        return {"explanations log-likelihood": -_nats_of_explanations(run, dataset, of_task["explain"], most)}
    raise UserError(
        "run.validate_epochs scores next items or explanations, and nothing of these tasks is trained: set it to 0"
    )


def _of_next_items(run: Run, dataset: Dataset, name: str, most: int, beams: int) -> dict[str, float]:
    held = Validation.of(dataset, most)
    if held is None:
        raise UserError(
            "run.validate_epochs: no user has both a training and a validation part: set it to 0, "
            "and say how long to train (optim.epochs=20)"
        )
    items = next_items(run, name, held.users, held.histories, beams, None if held.again else held.histories).items
    hit = items[:, :_CUTOFF] == held.targets[:, None]
    gain = np.where(hit.any(axis=1), 1 / np.log2(hit.argmax(axis=1) + 2.0), 0.0)
    return {f"{name} NDCG@10": float(gain.mean()), f"{name} HR@10": float(hit.any(axis=1).mean())}


@torch.no_grad()
def _nats_of_explanations(run: Run, dataset: Dataset, names: list[str], most: int) -> float:
    """Mean over reviews of what a token of the explanation costs; each is asked for by one of the prompts, in turn."""
    table, rows = dataset.reviews, explainable(dataset, "validation")["row"].to_numpy()
    compiler = run.compiler(names)
    fits = np.column_stack([fillable(table, run.prompts[name])[rows] for name in names])
    rows, fits = rows[fits.any(1)], fits[fits.any(1)]
    if not len(rows):
        raise UserError(
            "run.validate_epochs: no review of the validation part can fill a trained prompt: set it to 0, "
            "and say how long to train (optim.epochs=5)"
        )
    if len(rows) > most:
        kept = np.unique(np.linspace(0, len(rows) - 1, most).astype(int))
        rows, fits = rows[kept], fits[kept]
    turn = np.arange(len(rows)) % fits.sum(axis=1)
    prompt = (fits.cumsum(axis=1) > turn[:, None]).argmax(axis=1)
    people, items = table["user"].to_numpy()[rows], table["item"].to_numpy()[rows]
    samples = Samples.of(prompt, people, item=items, review=rows, stars=stars_in_tenths(table)[rows])
    lengths, total = compiler.input_lengths(samples), 0.0
    for group in of_like_length(longest_first(np.arange(len(rows)), lengths), lengths, _TOKENS):
        batch = run.batch(compiler, samples.take(group), targets=True).to(run.device)
        total += float(run.model(batch).double().sum())
    return total / len(rows)
