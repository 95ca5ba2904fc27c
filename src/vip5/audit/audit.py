"""What a data set and its item codes give away: rules that need no training, checks for leaks, a verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vip5.audit.counterfactual import counterfactual, first_users
from vip5.audit.leaks import Finding, table_findings
from vip5.audit.leaks_fitted import (
    ALPHA,
    codes_above_training,
    codes_of_new_items,
    fitted_findings,
    refitted_codes,
    stored_negatives,
    training_negatives,
)
from vip5.audit.probes import IdGap, IdPlusOne, LastAgain, NextRawId, SeldomNegative
from vip5.baselines.base import Ranker
from vip5.baselines.item_knn import ItemKNN
from vip5.baselines.popularity import Popularity
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.evaluation.control import control
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.intervals import Estimate, estimate
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list
from vip5.evaluation.results import Result
from vip5.evaluation.rivals import fit_rivals
from vip5.evaluation.verdict import RIVALS
from vip5.items import SCHEMES, code_items
from vip5.items.codes import CODES
from vip5.predict.answers import ModelSystem
from vip5.predict.folder import is_finished
from vip5.predict.model import TrainedModel
from vip5.predict.system import System
from vip5.prompts import Prompt, Samples, load_prompts
from vip5.prompts.reviews import explainable
from vip5.prompts.tokenizer import train_vocabulary
from vip5.training import load_config
from vip5.training.draw import SampleDrawer

NEXT_METRICS = ("HR@5", "NDCG@5", "HR@10", "NDCG@10")
CHOICE_METRICS = ("HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10")
NEXT, ID, GAP = "next item", "id + 1", "id gap"
RAW = "next higher raw id"
NUMBERED = "sequential"  # codes that only number the items
FRESH = ("id + 1 (sequential)", "id gap (sequential)")  # the same on codes that are fitted afresh
POPULARITY, KNN, AGAIN, SELDOM = Popularity.name, ItemKNN.name, "last items again", "seldom a negative"
PAPER = "paper"
TOKENIZER_USERS = 1000  # that the check of the tokenizer is made with: enough words, in a second


Refit = Callable[[Dataset], list[str]]


@dataclass(frozen=True)
class RuleRow:
    """What one rule reaches in one task."""

    task: str  # "next item", or "one of 100"
    rule: str
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Audit:
    """The rules, the checks, and what follows from them."""

    dataset: str
    data_hash: str
    codes: str
    rows: list[RuleRow]
    findings: list[Finding]

    @property
    def reasons(self) -> list[str]:
        """One sentence for each leak."""
        return [f"{finding.name}: {finding.words}" for finding in self.findings if finding.status == "leak"]

    @property
    def leaky(self) -> bool:
        return bool(self.reasons)

    @property
    def verdict(self) -> str:
        return "leaky" if self.leaky else "clean"

    def summary(self) -> dict[str, Any]:
        """The verdict, its reasons and the checks, as plain values."""
        return {
            "codes": self.codes,
            "verdict": self.verdict,
            "reasons": self.reasons,
            "checks": [asdict(finding) for finding in self.findings],
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain values."""
        rows = [
            {"task": row.task, "rule": row.rule, "metrics": {m: e._asdict() for m, e in row.metrics.items()}}
            for row in self.rows
        ]
        return {"dataset": self.dataset, "data_hash": self.data_hash, **self.summary(), "rules": rows}

    def results(self, beside: Sequence[Result]) -> list[Result]:
        """The rules as results, to stand in the tables of a model's: of the same tasks, without those that stand there
        as its baselines, and without the rules on other codes."""
        found = {}
        for r in beside:
            about = r.model_dump(include={"dataset", "data_hash", "protocol", "split", "task", "seed"})
            for row in self.rows:
                if row.task == r.task and row.rule not in (*RIVALS, *FRESH):
                    for metric, value in row.metrics.items():
                        rule = Result.of(value, **about, prompt="rule", metric=metric, model=row.rule, kind="rule")
                        found[r.task, row.rule, metric] = rule
        return list(found.values())


def _tokenizer(dataset: Dataset) -> str:
    size = load_config("prompts").model.tokenizer_size
    return train_vocabulary(first_users(dataset, TOKENIZER_USERS), load_prompts(), size).tokenizer.to_str()


def _prompts(*tasks: str) -> list[Prompt]:
    return [prompt for prompt in load_prompts().values() if not prompt.unseen and (not tasks or prompt.task in tasks)]


def _samples(dataset: Dataset) -> Samples:
    few = [f"samples.{task}=1" for task in ("next", "next_yes_no", "yes_no", "choice")]
    return SampleDrawer(dataset, _prompts(), load_config("prompts", None, [*few, "samples.candidates=8"])).draw(0)


def _choices(dataset: Dataset) -> Samples:
    config = load_config("prompts", None, ["samples.choice=1", "samples.candidates=100"])
    drawer = SampleDrawer(dataset, _prompts("choice"), config)
    return Samples.join([drawer.draw(epoch) for epoch in range(1 if dataset.n_users > 5000 else 5)])


def _explanations(dataset: Dataset) -> pl.DataFrame:
    return explainable(dataset, "train").select("user", "item", "rating", "headline", "feature", "explanation")


# What training fits or draws, each from a data set alone.
FITTED: dict[str, Callable[[Dataset], Any]] = {
    "popularity": lambda dataset: Popularity.fit(dataset).counts,
    "tokenizer": _tokenizer,
    "training samples": _samples,
    "training explanations": _explanations,
}


def audit(
    dataset: Dataset,
    codes: list[str],
    refit: Refit | None = None,
    *,
    name: str = "given",
    fitted: Mapping[str, Callable[[Dataset], Any]] = FITTED,
    choices: Callable[[Dataset], Samples] = _choices,
    users: int | None = None,
    seed: int = 0,
    rivals: Sequence[Ranker] | None = None,
) -> Audit:
    """Try the rules on the test part and look for leaks in the data set, in its item codes, in what training makes.

    codes: one word an item. refit: the scheme that they come from, to fit them again; codes of unknown origin are
    judged by what they give away. name: what the codes are called. fitted, choices: what training fits and draws.
    users: at most so many are ranked for by the rules, spread evenly; checks look at all. rivals: item-kNN and the
    rules with content, where they are fitted already.
    Every metric comes with a 95 % bootstrap interval (10,000 resamples).
    """
    tested = HeldOut.of(dataset, most=users)
    if not len(tested):
        raise UserError(f"no user of {dataset.path} has a test item: there is nothing to audit")
    lists, orders = _ranked(dataset, codes, tested, seed, fit_rivals(dataset) if rivals is None else rivals)
    ranks = {rule: ranks_in_list(found, tested.targets) for rule, found in lists.items()}
    rows = [_row(NEXT, rule, found, NEXT_METRICS, seed) for rule, found in ranks.items()]
    task = f"one of {tested.lists.shape[1]}"
    for rule, order in orders.items():
        rows.append(_row(task, rule, ranks_in_list(order, tested.targets), CHOICE_METRICS, seed))
    other = counterfactual(dataset, seed)
    of_codes = [] if refit is None else [refitted_codes(codes, refit, dataset, other)]
    if not of_codes or of_codes[0].status == "note":
        ndcg = {rule: ranking_metrics(found, (5,))["NDCG@5"] for rule, found in ranks.items()}
        honest = {rule: ndcg[rule] for rule in (POPULARITY, KNN, *FRESH)}
        of_codes += [
            codes_above_training({rule: ndcg[rule] for rule in (ID, GAP)}, honest, seed),
            codes_of_new_items(codes, dataset),
        ]
    everyone = tested if users is None else HeldOut.of(dataset)
    findings = [
        *of_codes,
        *fitted_findings(fitted, dataset, other),
        training_negatives(choices(dataset), dataset),
        stored_negatives(everyone, dataset.sequences.take(everyone.users), dataset.n_items, _weights(dataset)),
        _control(dataset, tested, lists[POPULARITY], orders[POPULARITY], seed),
        *table_findings(dataset, everyone),
    ]
    return Audit(dataset.manifest.name, dataset.hash, name, rows, findings)


def audit_system(
    system: System,
    dataset: Dataset,
    users: int | None = None,
    seed: int = 0,
    rivals: Sequence[Ranker] | None = None,
) -> Audit:
    """The data set of a run, and the item codes of a model. A baseline has none: the rules are tried on numbers."""
    if isinstance(system, ModelSystem):
        words, refit = system.model.codes.words, refit_of(system.model)
        return audit(dataset, words, refit, name=system.model.codes.scheme, users=users, seed=seed, rivals=rivals)
    return audit(dataset, *codes_of(NUMBERED, dataset), name=NUMBERED, users=users, seed=seed, rivals=rivals)


def refit_of(model: TrainedModel) -> Refit | None:
    """How a model's codes were fitted; the paper's numbers cannot be fitted again."""
    if model.codes.scheme == PAPER:
        return None
    return lambda dataset: code_items(model.config.codes, dataset, model.stores, model.codes.seed).words


def codes_of(source: str, dataset: Dataset) -> tuple[list[str], Refit | None]:
    """Item codes by a scheme's name or from a table with the columns item and code; and the scheme, to fit them again.

    `paper` reads its numbers from the items and cannot be fitted again. A table may hold what a scheme gives: that of a
    run folder says so, others are held against the schemes that only number the items.
    """
    if all(name in SCHEMES for name in source.split("+")):
        return code_items(source, dataset).words, None if source == PAPER else partial(_words, source)
    file = Path(source)
    words = _read_words(file, dataset)
    if file.name == CODES and is_finished(file.parent):
        model = TrainedModel.load(file.parent)
        if model.codes.words == words and (refit := refit_of(model)) is not None:
            return words, refit
    for scheme in (NUMBERED, "atomic"):
        if words == code_items(scheme, dataset).words:
            return words, partial(_words, scheme)
    return words, None


def _read_words(file: Path, dataset: Dataset) -> list[str]:
    """The code of each item of the data set, from a table."""
    if not file.is_file():
        raise UserError(f"no item codes {str(file)!r}: give one of {', '.join(sorted(SCHEMES))}, or a codes.parquet")
    try:
        table = pl.read_parquet(file, columns=["item", "code"]).cast(pl.String)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"cannot read item codes ({file}: {reason}): give Parquet with the columns item, code"
        ) from None
    joined = dataset.items.select("item").join(table, on="item", how="left", maintain_order="left")
    if len(joined) != dataset.n_items or joined["code"].null_count() or joined["code"].n_unique() < len(joined):
        raise UserError(f"item codes are not one distinct code an item ({file}): give those of a run on this data set")
    return joined["code"].to_list()


def _words(scheme: str, dataset: Dataset) -> list[str]:
    return code_items(scheme, dataset).words


def _weights(dataset: Dataset) -> np.ndarray | None:
    """How likely each item was to be drawn as a stored negative; none where all were as likely."""
    if dataset.manifest.candidates_by == "uniform":
        return None
    return Popularity.fit(dataset).counts


def _ranked(
    dataset: Dataset, codes: list[str], tested: HeldOut, seed: int, rivals: Sequence[Ranker]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What each rule ranks: ten next items, and the order of the candidates."""
    histories, lists, k = tested.histories, tested.lists, 10
    left_out = None if dataset.buys_again else histories
    above, near, raw = IdPlusOne(codes), IdGap(codes, seed), NextRawId(dataset.items["item"].to_list())
    popular, again = Popularity.fit(dataset, seed=seed), LastAgain(dataset.n_items)
    fresh = code_items(NUMBERED, dataset).words
    next_items = {
        ID: above.rank(histories, k),
        GAP: near.rank(histories, k),
        FRESH[0]: IdPlusOne(fresh).rank(histories, k),
        FRESH[1]: IdGap(fresh, seed).rank(histories, k),
        RAW: raw.rank(histories, k),
        POPULARITY: popular.rank(histories, k, exclude=left_out),
        AGAIN: again.rank(histories, k),
    } | {rival.name: rival.rank(histories, k, tested.users, exclude=left_out) for rival in rivals}
    negatives = lists[lists != tested.targets[:, None]]
    seldom = SeldomNegative(negatives, dataset.sequences.take(tested.users), dataset.n_items)
    orders = {
        ID: above.rank_candidates(lists, histories),
        GAP: near.rank_candidates(lists, histories),
        RAW: raw.rank_candidates(lists, histories),
        POPULARITY: popular.rank_candidates(lists, histories),
        AGAIN: again.rank_candidates(lists, histories),
        SELDOM: seldom.rank_candidates(lists, tested.targets),
    } | {rival.name: rival.rank_candidates(lists, histories, tested.users) for rival in rivals}
    return next_items, orders


def _row(task: str, rule: str, ranks: np.ndarray, names: tuple[str, ...], seed: int) -> RuleRow:
    metrics = ranking_metrics(ranks, (1, 5, 10))
    return RuleRow(task, rule, {name: estimate(metrics[name], seed=seed) for name in names})


def _control(dataset: Dataset, tested: HeldOut, ranked: np.ndarray, order: np.ndarray, seed: int) -> Finding:
    """Popularity on shuffled targets: above chance, the metrics or the lists would be at fault."""
    found = [
        control(ranked, tested, dataset.n_items, seed=seed, again=dataset.buys_again),
        control(order, tested, seed=seed),
    ]
    p = min(one.p for one in found)
    text = "; ".join(f"HR@10 {one.hit_rate.value:.4f}, chance {one.chance_hit_rate:.4f}" for one in found)
    words = f"popularity on shuffled targets, next item and one of {tested.lists.shape[1]}: {text}"
    return Finding("shuffled targets", "leak" if p < ALPHA / 2 else "ok", p, words)
