"""The stored cases of evaluated runs, checked to be the same ones, as what each user contributes to each run."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from vip5.errors import UserError
from vip5.evaluation.ranking import ABSENT, ranking_metrics
from vip5.evaluation.stored import load_about, load_ranks, load_sentences
from vip5.evaluation.text import ORDER, TextScores, Tokens, corpus_bleu
from vip5.predict.folder import read_run
from vip5.runs import RUN_FILE

TEXT_METRICS = ("BLEU-4", "ROUGE-L")


@dataclass(frozen=True)
class Evaluated:
    """A run folder that was evaluated."""

    folder: Path
    about: dict[str, Any]  # run.json
    evaluation: dict[str, Any]  # evaluation.json
    ranks: pl.DataFrame
    sentences: pl.DataFrame

    @classmethod
    def load(cls, folder: Path) -> "Evaluated":
        about = read_run(folder)
        return cls(folder, about, load_about(folder), load_ranks(folder), load_sentences(folder))

    @property
    def settings(self) -> str:
        """All that makes it what it is but the seed."""
        return json.dumps(_but_the_seed(self.about), sort_keys=True)

    @property
    def protocol(self) -> str:
        codes = self.about["config"].get("codes", {})  # a baseline has none
        names = (self.about["dataset"]["protocol"], codes.get("scheme"))
        return "paper" if "paper" in names else "clean"


def _but_the_seed(about: Mapping[str, Any]) -> list[Any]:
    """What a run is, and where it stands on a run of ours, what that one is: there are as many of it as seeds."""
    config = {key: value for key, value in about["config"].items() if key != "seed"}
    if (below := config.get("model", {}).get("backbone")) and (Path(below) / RUN_FILE).is_file():
        config["model"] = config["model"] | {"backbone": _but_the_seed(read_run(Path(below)))}
    return [config, *(about.get(key) for key in ("baseline", "modalities", "extra_prompts"))]


class Cases(NamedTuple):
    """What each of n users contributes to each run, and how metrics come of the sums over users."""

    rows: np.ndarray  # float64 [n, runs, m]
    score: Callable[[np.ndarray], np.ndarray]  # [..., runs, m] → [..., runs, metrics]
    tokens: Tokens | None = None  # of sentences


def cases_of(runs: Sequence[Evaluated], prompt: str, metrics: Sequence[str]) -> Cases:
    if metrics[0] in TEXT_METRICS:
        return _text_cases(runs, prompt, metrics)
    return _rank_cases(runs, prompt, metrics)


def _rank_cases(runs: Sequence[Evaluated], prompt: str, metrics: Sequence[str]) -> Cases:
    tables = [run.ranks.filter(prompt=prompt).sort("user", "list") for run in runs]
    first = _first_of_each_user(runs, tables, prompt, ["list"], "candidate lists")
    cutoffs = {name: int(name.split("@")[1]) for name in metrics}
    for run, table in zip(runs, tables, strict=True):
        k, depth = max(cutoffs.values()), int(table["depth"].to_numpy().min())
        if k > depth:
            raise UserError(
                f"{run.folder} looked at {depth} places for {prompt}, too few for @{k}: evaluate it with --beams {k}, "
                "or choose --metrics"
            )
    ranks = np.stack([table["rank"].fill_null(ABSENT).to_numpy() for table in tables], axis=1)
    values = np.stack([ranking_metrics(ranks, (k,))[name] for name, k in cutoffs.items()], axis=2)
    lists = np.diff(first, append=len(ranks))
    rows = np.add.reduceat(values, first) / lists[:, None, None]
    return Cases(rows, lambda sums: sums / len(rows))


def _text_cases(runs: Sequence[Evaluated], prompt: str, metrics: Sequence[str]) -> Cases:
    by = ["user", "item", "truth"]
    tables = [run.sentences.filter(prompt=prompt).sort(by, maintain_order=True) for run in runs]
    first = _first_of_each_user(runs, tables, prompt, ["item", "truth"], "reviews")
    scores = [TextScores(table["written"].to_list(), table["truth"].to_list()) for table in tables]
    ones = np.ones((len(tables[0]), len(tables), 1))  # a user may have several reviews: the mean is over reviews
    rows = np.add.reduceat(np.concatenate([np.stack([s.statistics for s in scores], axis=1), ones], axis=2), first)

    def score(sums: np.ndarray) -> np.ndarray:
        found = {"BLEU-4": corpus_bleu(sums[..., : 2 + 2 * ORDER], 4), "ROUGE-L": sums[..., -2] / sums[..., -1]}
        return np.stack([found[name] for name in metrics], axis=-1)

    return Cases(rows, score, scores[0].tokens)


def _first_of_each_user(
    runs: Sequence[Evaluated], tables: list[pl.DataFrame], prompt: str, case: list[str], kind: str
) -> np.ndarray:
    """The first row of each user, int [n_users], in tables sorted alike; UserError unless all have the same cases."""
    for run, table in zip(runs[1:], tables[1:], strict=True):
        if not table["user"].unique().sort().equals(tables[0]["user"].unique().sort()):
            other = sorted(set(table["user"]) ^ set(tables[0]["user"]))
            raise UserError(
                f"{prompt}: {run.folder} and {runs[0].folder} were not evaluated on the same users ({other[0]!r}, "
                f"{len(other):,} in all, only in one): evaluate them anew"
            )
        if not table.select("user", *case).equals(tables[0].select("user", *case)):
            raise UserError(
                f"{prompt}: {run.folder} and {runs[0].folder} have other {kind} for the same users: evaluate them anew"
            )
    users = tables[0]["user"]
    return np.flatnonzero((users != users.shift(1)).fill_null(True).to_numpy())
