"""A system against the held-out part: ranks and sentences for each prompt, beside the simplest baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from vip5.baselines.base import Ranker
from vip5.baselines.popularity import Popularity
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.evaluation.explanations import Told, explanation_results, held_out_explanations, tell, why_unanswered
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.results import EXPLANATION, NEXT_ITEM, Result
from vip5.evaluation.rivals import fit_rivals, ranked_by
from vip5.evaluation.scores import Ranked, beside, ranking_results, wasted_results
from vip5.evaluation.stored import RANKS, SENTENCES, rank_rows, save_about, save_ranks, save_sentences
from vip5.predict.baseline import FittedBaseline
from vip5.predict.recommender import NEXT
from vip5.predict.system import System
from vip5.prompts import Prompt

PROMPTS = ("A-3", "A-9", "B-5", "B-8", "C-3", "C-12")  # a seen and an unseen one of each family, as in the paper


@dataclass
class Evaluation:
    """The numbers of one system, and what they were computed from, case by case, for paired comparisons."""

    system: System
    dataset: Dataset
    options: EvaluateOptions
    results: list[Result] = field(default_factory=list)
    ranked: dict[str, tuple[HeldOut, Ranked]] = field(default_factory=dict)  # by prompt
    told: dict[str, Told] = field(default_factory=dict)  # by prompt
    left_out: list[str] = field(default_factory=list)  # prompts that are not answered, and why
    _rivals: list[Ranker] | None = None
    _ranked_by_rivals: dict[str, dict[str, Ranked]] = field(default_factory=dict)  # by task and baseline

    @property
    def again(self) -> bool:
        """Whether next items may be ones that the user had before."""
        given = self.options.allow_again
        return self.dataset.buys_again if given is None else given

    @property
    def rivals(self) -> list[Ranker]:
        """Baselines that stand beside the system, fitted when they are first asked for."""
        if self._rivals is None:
            self._rivals = fit_rivals(self.dataset)
        return self._rivals

    @property
    def notes(self) -> list[str]:
        """What a reader of any table of these numbers must know of the data."""
        k, width = max(self.options.cutoffs), self.dataset.manifest.counts["candidates"] + 1
        few = f"HR@k of one of {width} is 1 for k of {width} and more, whoever ranks"
        common = [self.dataset.order_note, again_note(self.dataset, self.again)]
        return common + [few] * (k >= width and any(result.task == f"one of {width}" for result in self.results))

    @property
    def about(self) -> dict[str, Any]:
        """What all results have in common."""
        manifest = self.dataset.manifest
        return {
            "dataset": manifest.name,
            "data_hash": self.dataset.hash,
            "protocol": "paper" if self.system.leaky or manifest.protocol == "paper" else "clean",
            "split": "test",
            "model": self.system.name,
            "seed": self.system.seed,
        }

    def save(self, folder: Path) -> None:
        """Write ranks, sentences and what they are of into a run folder, in place of an earlier evaluation's."""
        data = self.dataset
        ranks = [
            rank_rows(prompt, data.users["user"].gather(held.users), found.ranks, found.depth)
            for prompt, (held, found) in self.ranked.items()
        ]
        save_ranks(folder, pl.concat(ranks) if ranks else RANKS.to_frame())
        sentences = [
            pl.DataFrame(
                {
                    "prompt": [prompt] * len(told.truth),
                    "user": data.users["user"].gather(told.reviews["user"]),
                    "item": data.items["item"].gather(told.reviews["item"]),
                    "written": told.written,
                    "truth": told.truth,
                }
            )
            for prompt, told in self.told.items()
        ]
        save_sentences(folder, pl.concat(sentences) if sentences else SENTENCES.to_frame())
        save_about(folder, {"again": self.again, "notes": self.notes})


def again_note(dataset: Dataset, again: bool) -> str:
    """One sentence on whether what people had before may come out."""
    share = dataset.manifest.repeats_share
    found = "" if share is None else f" ({share:.1%} of the training purchases are of what the person had before)"
    return (
        f"next items may be ones the user had before{found}"
        if again
        else f"what the user had before is left out{found}"
    )


def evaluate(
    system: System,
    dataset: Dataset,
    prompts: Sequence[str] = PROMPTS,
    options: EvaluateOptions | None = None,
    progress: bool = False,
) -> Evaluation:
    """Score the test part: next item over the whole catalogue, the true item among stored candidates, explanations.

    The catalogue of the system is that of the data set. Every metric comes with a 95 % bootstrap interval and the
    paired difference to its baseline.
    """
    evaluation = Evaluation(system, dataset, options or EvaluateOptions())
    if not prompts:
        raise UserError("no prompts to evaluate: give ids, as in --prompts A-3,B-5")
    if isinstance(system, FittedBaseline) and evaluation.options.decode != "beam":
        raise UserError(f"{system.name} is a baseline, which scores all items: leave out --decode")
    for name in dict.fromkeys(prompts):
        if name not in system.prompts:
            raise UserError(f"unknown prompt {name}: there are {', '.join(system.prompts)}")
        prompt = system.prompts[name]
        if prompt.task not in ("next", "choice") and prompt.target != "{explanation}":
            raise UserError(f"prompt {name} is not evaluated: it must ask for an item, or for an explanation alone")
        if why := system.why_not(prompt):
            evaluation.left_out.append(f"{name}: {why}")
        elif prompt.task == "explain":
            _explain(evaluation, prompt, progress)
        else:
            _rank(evaluation, prompt, progress)
            # Candidates that are fewer than a list's places would all be hits.
            enough = dataset.candidates.shape[2] >= max(evaluation.options.cutoffs)
            if name == NEXT and name in evaluation.ranked and enough and evaluation.options.decode != "free":
                _rank(evaluation, prompt, progress, among=True)
    return evaluation


def _rank(evaluation: Evaluation, prompt: Prompt, progress: bool, among: bool = False) -> None:
    """Next items of the whole catalogue, or one of the candidates; `among`: of these by a prompt of the next item."""
    dataset, options = evaluation.dataset, evaluation.options
    held = HeldOut.of(dataset, "test", options.users)
    if not len(held):
        evaluation.left_out.append(f"{prompt.id}: no user has both a training and a test part")
        return
    lists = None if prompt.task == "next" and not among else _lists(evaluation, held)
    if lists is not None and lists[0].shape[1] == 1:
        evaluation.left_out.append(f"{prompt.id}: the data set has no candidates, and one of 1 is always found")
        return
    found = _ranked(evaluation, prompt, held, lists, progress)
    task = NEXT_ITEM if lists is None else f"one of {lists[0].shape[1]}"
    name = f"{prompt.id} {task.removeprefix('one ')}" if among else prompt.id
    about = evaluation.about | {"task": task, "prompt": name}
    evaluation.ranked[name] = held, found
    k, again, popularity = max(options.cutoffs), evaluation.again, Popularity.fit(dataset)
    popular = ranked_by(popularity, held, lists, k, again)
    evaluation.results += ranking_results(
        found, popular, held, popularity.counts, about, options.cutoffs, options.seed, again
    )
    for rival, theirs in _rivals(evaluation, task, held, lists, progress).items():
        if rival != evaluation.system.name:
            evaluation.results += beside(found, theirs, rival, about, options.cutoffs, options.seed)
    if options.decode == "free":
        evaluation.results += wasted_results(found, about, k, options.seed)


def _rivals(
    evaluation: Evaluation, task: str, held: HeldOut, lists: list[np.ndarray] | None, progress: bool
) -> dict[str, Ranked]:
    """What the baselines beside the system rank: the same for all prompts of a task."""
    if task not in evaluation._ranked_by_rivals:
        shown = Console(stderr=True, quiet=not progress)
        with shown.status(f"{task}: what item-kNN and the rules rank, a minute on 20,000 people"):
            evaluation._ranked_by_rivals[task] = {
                rival.name: ranked_by(rival, held, lists, max(evaluation.options.cutoffs), evaluation.again)
                for rival in evaluation.rivals
            }
    return evaluation._ranked_by_rivals[task]


def _lists(evaluation: Evaluation, held: HeldOut) -> list[np.ndarray]:
    """Every stored list of candidates, int [n, C]."""
    several = range(1, len(evaluation.dataset.candidates))
    users = evaluation.options.users
    return [held.lists, *(HeldOut.of(evaluation.dataset, "test", users, number).lists for number in several)]


def _ranked(
    evaluation: Evaluation, prompt: Prompt, held: HeldOut, lists: list[np.ndarray] | None, progress: bool
) -> Ranked:
    """What the system ranks: next items, or the candidates of each list."""
    system, options = evaluation.system, evaluation.options
    how, left_out = options.decoding(progress), None if evaluation.again else held.histories
    if lists is None:
        found = [system.rank(prompt, held.users, held.histories, max(options.cutoffs), how, left_out)]
    else:
        found = [system.choose(prompt, held.users, held.histories, shown, how) for shown in lists]
    return Ranked.of(found, held.targets)


def _explain(evaluation: Evaluation, prompt: Prompt, progress: bool) -> None:
    dataset, options = evaluation.dataset, evaluation.options
    asked = held_out_explanations(dataset, prompt, options.users)
    if not len(asked):
        evaluation.left_out.append(f"{prompt.id}: {why_unanswered(dataset)}")
        return
    told = evaluation.told[prompt.id] = tell(evaluation.system, prompt, asked, options.decoding(progress))
    about = evaluation.about | {"task": EXPLANATION, "prompt": prompt.id}
    evaluation.results += explanation_results(told, dataset.reviews, about, options.seed)
