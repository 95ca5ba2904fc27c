"""A run against the held-out part: ranks and sentences for each prompt, beside the simplest baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vip5.baselines.popularity import Popularity, most_frequent_sentence
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.evaluation.intervals import estimate, paired_difference
from vip5.evaluation.predict import choose, explain, next_items
from vip5.evaluation.ranking import ABSENT, ranking_metrics, ranks_in_list
from vip5.evaluation.results import Result
from vip5.evaluation.text import TextScores
from vip5.prompts import Prompt, Samples
from vip5.prompts.samples import take_rows
from vip5.training import Run
from vip5.training.draw import explainable, fillable, stars_in_tenths

PROMPTS = ("A-3", "A-9", "B-5", "B-8", "C-3", "C-12")  # a seen and an unseen one of each family, as in the paper
CUTOFFS = (1, 5, 10)
POPULARITY, SENTENCE = "popularity", "most frequent sentence"


@dataclass
class Evaluation:
    """The numbers of one run, and what they were computed from, user by user, for paired comparisons."""

    results: list[Result] = field(default_factory=list)
    ranks: dict[str, np.ndarray] = field(default_factory=dict)  # prompt → int [m], 0-based, of the tested users
    sentences: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)  # prompt → generated, true
    left_out: list[str] = field(default_factory=list)  # prompts that the data cannot answer, and why

    def save_ranks(self, path: Path, dataset: Dataset) -> None:
        """One row a prompt and tested user: prompt, user, rank (0-based, null beyond the list)."""
        users = dataset.users["user"].gather(dataset.tested("test"))
        frames = [
            pl.DataFrame({"prompt": [name] * len(ranks), "user": users, "rank": ranks}).with_columns(
                pl.col("rank").replace(ABSENT, None)
            )
            for name, ranks in self.ranks.items()
        ]
        if frames:
            pl.concat(frames).write_parquet(path)


def evaluate(
    run: Run, prompts: Sequence[str] = PROMPTS, beams: int = 20, text_beams: int = 1, seed: int = 0, label: str = "VIP5"
) -> Evaluation:
    """Score the test part: next item over the whole catalogue, the true item among stored candidates, explanations.

    Every metric comes with a 95 % bootstrap interval and the paired difference to its baseline.
    """
    evaluation = Evaluation()
    if beams < max(CUTOFFS):
        raise UserError(f"{beams} beams find no {max(CUTOFFS)} items to score: give at least {max(CUTOFFS)}")
    if not prompts:
        raise UserError("no prompts to evaluate: give ids, as in --prompts A-3,B-5")
    for name in dict.fromkeys(prompts):
        if name not in run.prompts:
            raise UserError(f"unknown prompt {name}: there are {', '.join(run.prompts)}")
        prompt = run.prompts[name]
        if prompt.task in ("next", "choice") and not len(run.dataset.tested("test")):
            evaluation.left_out.append(f"{name}: no user has both a training and a test part")
        elif prompt.task == "next":
            _next(run, name, beams, seed, label, evaluation)
        elif prompt.task == "choice":
            _choice(run, name, beams, seed, label, evaluation)
        elif prompt.task == "explain" and prompt.target == "{explanation}":
            _explain(run, prompt, text_beams, seed, label, evaluation)
        else:
            raise UserError(f"prompt {name} is not evaluated: it must ask for an item, or for an explanation alone")
    return evaluation


def validation_score(run: Run, users: int, beams: int = 20) -> dict[str, float]:
    """NDCG@10 of the validation items over the whole catalogue, for some users spread evenly: to choose an epoch by."""
    seen = run.config.prompts.train or [n for n, p in run.prompts.items() if not p.unseen]
    names = [n for n in seen if run.prompts[n].task == "next"]
    if not names:
        raise UserError("run.validate_epochs scores next items, and no prompt of that task is trained: set it to 0")
    name = "A-3" if "A-3" in names else names[0]
    tested = run.dataset.tested("validation")
    if not len(tested):
        raise UserError("run.validate_epochs: no user has both a training and a validation part: set it to 0")
    rows = tested[_some(len(tested), users)]
    histories = take_rows(run.dataset.history("validation"), rows)
    found = next_items(run, name, rows, histories, beams)
    ranks = ranks_in_list(found.items, run.dataset.targets("validation")[rows])
    metrics = ranking_metrics(ranks, (10,))
    return {f"{name} NDCG@10": float(metrics["NDCG@10"].mean()), f"{name} HR@10": float(metrics["HR@10"].mean())}


def shown_candidates(dataset: Dataset, number: int = 0) -> np.ndarray:
    """int [m, C]: each tested user's item among the negatives of list `number`, in an order that is always the same."""
    rows = dataset.tested("test")
    lists = np.column_stack([dataset.targets("test"), dataset.candidates[number]])[rows]
    return np.random.default_rng([99, number]).permuted(lists, axis=1)


def _next(run: Run, name: str, beams: int, seed: int, label: str, evaluation: Evaluation) -> None:
    data = run.dataset
    users = data.tested("test")
    history, targets = take_rows(data.history("test"), users), data.targets("test")[users]
    found = next_items(run, name, users, history, beams)
    popular = Popularity.fit(data).rank(history, max(CUTOFFS))
    _rank_results(run, name, "next item", found.items, popular, targets, seed, label, evaluation)


def _choice(run: Run, name: str, beams: int, seed: int, label: str, evaluation: Evaluation) -> None:
    data = run.dataset
    users, lists = data.tested("test"), shown_candidates(data)
    found = choose(run, name, users, lists, beams)
    popular = Popularity.fit(data).rank_candidates(lists)
    task = f"one of {lists.shape[1]}"
    _rank_results(run, name, task, found.items, popular, data.targets("test")[users], seed, label, evaluation)


def _rank_results(
    run: Run, name: str, task: str, own: np.ndarray, popular: np.ndarray, targets: np.ndarray,
    seed: int, label: str, evaluation: Evaluation,
) -> None:  # fmt: skip
    evaluation.ranks[name] = ranks_in_list(own, targets)
    ours = ranking_metrics(evaluation.ranks[name], CUTOFFS)
    theirs = ranking_metrics(ranks_in_list(popular, targets), CUTOFFS)
    for metric, values in ours.items():
        evaluation.results.append(
            Result.of(
                estimate(values, seed=seed),
                estimate(theirs[metric], seed=seed),
                paired_difference(values, theirs[metric], seed=seed),
                **_about(run, label), task=task, prompt=name, metric=metric, baseline=POPULARITY,
            )
        )  # fmt: skip


def _explain(run: Run, prompt: Prompt, beams: int, seed: int, label: str, evaluation: Evaluation) -> None:
    samples = held_out_explanations(run, prompt)
    if not len(samples):
        lacks = (
            "the test part has no reviews" if not len(explainable(run.dataset, "test")) else "its fields are missing"
        )
        evaluation.left_out.append(f"{prompt.id}: {lacks}")
        return
    truth = run.dataset.reviews["explanation"].gather(samples.review).to_list()
    written = explain(run, prompt.id, samples, beams=beams)
    evaluation.sentences[prompt.id] = (written, truth)
    scores = TextScores(written, truth)
    frequent = TextScores([most_frequent_sentence(run.dataset.reviews) or ""] * len(truth), truth)
    own, others, differences = (
        scores.estimates(seed=seed),
        frequent.estimates(seed=seed),
        scores.differences(frequent, seed=seed),
    )
    for metric in scores.metrics:
        evaluation.results.append(
            Result.of(
                own[metric], others[metric], differences[metric],
                **_about(run, label), task="explanation", prompt=prompt.id, metric=metric, baseline=SENTENCE,
            )
        )  # fmt: skip


def held_out_explanations(run: Run, prompt: Prompt) -> Samples:
    """The test reviews that can fill an explanation prompt, as samples."""
    reviews = run.dataset.reviews
    rows = explainable(run.dataset, "test")["row"].to_numpy()
    rows = rows[fillable(reviews, prompt)[rows]]
    return Samples.of(
        np.zeros(len(rows), int),
        reviews["user"].to_numpy()[rows],
        item=reviews["item"].to_numpy()[rows],
        review=rows,
        stars=stars_in_tenths(reviews)[rows],
    )


def _about(run: Run, label: str) -> dict[str, Any]:
    manifest = run.dataset.manifest
    return {
        "dataset": manifest.name,
        "data_hash": run.dataset.hash,
        "protocol": "paper" if "paper" in (manifest.protocol, run.config.codes.scheme) else "clean",
        "split": "test",
        "model": label,
        "seed": run.config.seed,
    }


def _some(n: int, wanted: int) -> np.ndarray:
    """At most `wanted` users, spread evenly."""
    return np.unique(np.linspace(0, n - 1, min(n, wanted)).astype(int))
