"""A run against the held-out part: ranks and sentences for each prompt, beside the simplest baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from vip5.baselines.popularity import Popularity
from vip5.baselines.run import BaselineRun
from vip5.errors import UserError
from vip5.evaluation.explanations import (
    Told,
    explanation_results,
    held_out_explanations,
    tell,
    why_unanswered,
)
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.predict import Ranking, choose, exact_next, next_items, write_choice, write_next
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list
from vip5.evaluation.results import EXPLANATION, Result
from vip5.evaluation.scores import Ranked, ranking_results, wasted_results
from vip5.evaluation.stored import RANKS, SENTENCES, rank_rows, save_ranks, save_sentences
from vip5.prompts import Prompt
from vip5.training import Run

PROMPTS = ("A-3", "A-9", "B-5", "B-8", "C-3", "C-12")  # a seen and an unseen one of each family, as in the paper
CUTOFFS = (1, 5, 10)
Decode = Literal["beam", "exact", "free"]


@dataclass(frozen=True)
class Settings:
    """How a run is evaluated."""

    beams: int = 20
    text_beams: int = 1
    decode: Decode = "beam"  # exact: no item is lost; free: whatever tokens come, as the paper's own code decodes
    cutoffs: tuple[int, ...] = CUTOFFS  # the k of HR@k, NDCG@k and MRR@k
    users: int | None = None  # at most so many, spread evenly; None: all
    seed: int = 0  # of the bootstrap
    progress: bool = False

    def __post_init__(self) -> None:
        if not self.cutoffs or min(self.cutoffs) < 1:
            raise UserError("no cut-offs of 1 or more to score at: give some, as in --cutoffs 5,10")
        if self.beams < max(self.cutoffs):
            raise UserError(
                f"{self.beams} beams find no {max(self.cutoffs)} items to score: give at least {max(self.cutoffs)}"
            )


@dataclass
class Evaluation:
    """The numbers of one run, and what they were computed from, case by case, for paired comparisons."""

    run: Run | BaselineRun
    results: list[Result] = field(default_factory=list)
    ranked: dict[str, tuple[HeldOut, Ranked]] = field(default_factory=dict)  # by prompt
    told: dict[str, Told] = field(default_factory=dict)  # by prompt
    left_out: list[str] = field(default_factory=list)  # prompts that the data cannot answer, and why

    def save(self, folder: Path) -> None:
        """Write `ranks.parquet` and `sentences.parquet` into a run folder, in place of an earlier evaluation's."""
        data = self.run.dataset
        ranks = [
            rank_rows(prompt, data.users["user"].gather(held.users), found.ranks, found.depth)
            for prompt, (held, found) in self.ranked.items()
        ]
        save_ranks(folder, pl.concat(ranks) if ranks else RANKS.to_frame())
        sentences = [
            pl.DataFrame(
                {
                    "prompt": [prompt] * len(told.truth),
                    "user": data.users["user"].gather(told.samples.user),
                    "item": data.items["item"].gather(told.samples.item),
                    "written": told.written,
                    "truth": told.truth,
                }
            )
            for prompt, told in self.told.items()
        ]
        save_sentences(folder, pl.concat(sentences) if sentences else SENTENCES.to_frame())


def evaluate(
    run: Run, prompts: Sequence[str] = PROMPTS, settings: Settings | None = None, label: str = "VIP5"
) -> Evaluation:
    """Score the test part: next item over the whole catalogue, the true item among stored candidates, explanations.

    Every metric comes with a 95 % bootstrap interval and the paired difference to its baseline.
    """
    settings = settings or Settings()
    evaluation = Evaluation(run)
    if not prompts:
        raise UserError("no prompts to evaluate: give ids, as in --prompts A-3,B-5")
    for name in dict.fromkeys(prompts):
        if name not in run.prompts:
            raise UserError(f"unknown prompt {name}: there are {', '.join(run.prompts)}")
        prompt = run.prompts[name]
        if prompt.task in ("next", "choice"):
            _rank(run, prompt, settings, label, evaluation)
        elif prompt.task == "explain" and prompt.target == "{explanation}":
            _explain(run, prompt, settings, label, evaluation)
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
    held = HeldOut.of(run.dataset, "validation", users)
    if not len(held):
        raise UserError("run.validate_epochs: no user has both a training and a validation part: set it to 0")
    found = next_items(run, name, held.users, held.histories, beams)
    metrics = ranking_metrics(ranks_in_list(found.items, held.targets), (10,))
    return {f"{name} NDCG@10": float(metrics["NDCG@10"].mean()), f"{name} HR@10": float(metrics["HR@10"].mean())}


def _rank(run: Run, prompt: Prompt, settings: Settings, label: str, evaluation: Evaluation) -> None:
    held = HeldOut.of(run.dataset, "test", settings.users)
    if not len(held):
        evaluation.left_out.append(f"{prompt.id}: no user has both a training and a test part")
        return
    popularity = Popularity.fit(run.dataset)
    task, found, baseline = (_next if prompt.task == "next" else _choice)(run, prompt.id, held, popularity, settings)
    about = _about(run, label) | {"task": task, "prompt": prompt.id}
    evaluation.ranked[prompt.id] = held, found
    evaluation.results += ranking_results(
        found, baseline, held, popularity.counts, about, settings.cutoffs, settings.seed
    )
    if settings.decode == "free":
        evaluation.results += wasted_results(found, about, max(settings.cutoffs), settings.seed)


def _next(run: Run, name: str, held: HeldOut, popularity: Popularity, settings: Settings) -> tuple[str, Ranked, Ranked]:
    """Task, what the run ranked, what popularity ranked."""
    by: dict[Decode, Callable[..., Ranking]] = {"beam": next_items, "exact": exact_next, "free": write_next}
    ranking = by[settings.decode](run, name, held.users, held.histories, settings.beams, progress=settings.progress)
    own = Ranked.of([ranking.items], held.targets, [ranking.scores])
    popular = popularity.rank(held.histories, max(settings.cutoffs))
    return "next item", own, Ranked.of([popular], held.targets)


def _choice(
    run: Run, name: str, held: HeldOut, popularity: Popularity, settings: Settings
) -> tuple[str, Ranked, Ranked]:
    """As `_next`, over every stored list of candidates."""
    several = range(1, len(run.dataset.candidates))
    lists = [held.lists, *(HeldOut.of(run.dataset, "test", settings.users, number).lists for number in several)]
    width = lists[0].shape[1]
    beams = width if settings.decode == "exact" else settings.beams
    search = write_choice if settings.decode == "free" else choose
    found = [search(run, name, held.users, shown, beams, settings.progress) for shown in lists]
    own = Ranked.of([ranking.items for ranking in found], held.targets, [ranking.scores for ranking in found])
    popular = [popularity.rank_candidates(shown, held.histories) for shown in lists]
    return f"one of {width}", own, Ranked.of(popular, held.targets)


def _explain(run: Run, prompt: Prompt, settings: Settings, label: str, evaluation: Evaluation) -> None:
    samples = held_out_explanations(run.dataset, prompt, settings.users)
    if not len(samples):
        evaluation.left_out.append(f"{prompt.id}: {why_unanswered(run.dataset)}")
        return
    told = tell(run, prompt, samples, settings.text_beams, settings.progress)
    about = _about(run, label) | {"task": EXPLANATION, "prompt": prompt.id}
    evaluation.told[prompt.id] = told
    evaluation.results += explanation_results(told, run.dataset.reviews, about, settings.seed)


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
