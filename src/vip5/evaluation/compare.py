"""Evaluated runs beside each other: which differences are more than chance, over users and over seeds."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np

from vip5.errors import UserError
from vip5.evaluation.cases import TEXT_METRICS, Evaluated, cases_of
from vip5.evaluation.intervals import (
    LEVEL,
    RESAMPLES,
    Difference,
    Estimate,
    difference_of,
    holm,
    percentiles,
    two_level_samples,
)
from vip5.evaluation.text import cut_into

METRICS = ("HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10", *TEXT_METRICS)  # NDCG@1 is HR@1


@dataclass(frozen=True)
class ComparedSystem:
    """What is compared: one run, or several that differ only by their seed."""

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    protocol: str  # clean or paper


@dataclass(frozen=True)
class ComparedRow:
    """One comparison: a metric of `system` minus that of `reference`, on one prompt.

    A value is the mean over seeds; `by_seed` has the parts. `difference.p` is before correction, `p` after. Ranking
    metrics are fractions, text metrics per cent. n counts users.
    """

    prompt: str
    metric: str
    system: str
    reference: str
    value: Estimate
    reference_value: Estimate
    by_seed: tuple[float, ...]
    reference_by_seed: tuple[float, ...]
    difference: Difference
    p: float
    tokens: str | None = None  # of BLEU and ROUGE: how sentences were cut into words

    @property
    def verdict(self) -> str:
        if self.p >= 1 - LEVEL:
            return "no difference shown"
        return "better" if self.difference.value > 0 else "worse"


@dataclass(frozen=True)
class RunComparison:
    """All comparisons that were made together; their p-values are corrected (Holm, 1979) for `len(rows)`."""

    dataset: str
    data_hash: str
    systems: tuple[ComparedSystem, ...]
    rows: tuple[ComparedRow, ...]
    left_out: tuple[str, ...]  # prompts that not all runs were evaluated on
    notes: tuple[str, ...]  # what a reader must know of the data
    resamples: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        found = asdict(self) | {"level": LEVEL, "correction": "Holm (1979)", "comparisons": len(self.rows)}
        for made, row in zip(found["rows"], self.rows, strict=True):
            made |= {name: made[name]._asdict() for name in ("value", "reference_value", "difference")}
            made["verdict"] = row.verdict
        return found


def compare(
    runs: Sequence[str | Path],
    prompts: Sequence[str] | None = None,
    metrics: Sequence[str] = METRICS,
    join_seeds: bool = False,
    all_pairs: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> RunComparison:
    """Compare evaluated runs with the first of them, or all with all, by a paired bootstrap over users.

    With `join_seeds`, runs whose settings differ only by their seed are one system, whose seeds are resampled too.
    `prompts` are those that all runs were evaluated on when None. `seed` is that of the resampling.

    Raises: UserError for runs on other data, users or lists, for what was not evaluated, and for so many comparisons
    that `resamples` could not tell any.
    """
    systems, opened = _systems([Evaluated.load(Path(run)) for run in runs], join_seeds)
    chosen, left_out = _prompts(opened, prompts, metrics)
    pairs = [(b, a) for a, b in combinations(range(len(systems)), 2) if all_pairs or a == 0]
    count = len(pairs) * sum(len(names) for names in chosen.values())
    if (least := int(np.ceil(2 * count / (1 - LEVEL)))) > resamples:
        raise UserError(
            f"{count} comparisons corrected for their number cannot be told apart by {resamples:,} resamples: "
            f"give at least {least:,} (--resamples), or choose --prompts and --metrics"
        )
    parts: list[dict[str, Any]] = []
    for prompt, names in chosen.items():
        cases = cases_of(opened, prompt, names)
        seeds = [len(s.runs) for s in systems]
        by_run = np.split(cases.score(cases.rows.sum(axis=0)), np.cumsum(seeds)[:-1])  # [seeds, metrics] a system
        samples = two_level_samples(cases.rows, seeds, cases.score, resamples, seed)
        for m, metric in enumerate(names):
            values = [
                Estimate(float(by_run[s][:, m].mean()), *percentiles(samples[:, s, m]), len(cases.rows))
                for s in range(len(systems))
            ]
            for a, b in pairs:
                difference = values[a].value - values[b].value
                # Rounded, lest two equal systems be told apart by the order in which floats were added.
                drawn = np.round(samples[:, a, m] - samples[:, b, m], 10)
                parts.append(
                    dict(
                        prompt=prompt, metric=metric, system=systems[a].name, reference=systems[b].name,
                        value=values[a], reference_value=values[b],
                        by_seed=tuple(by_run[a][:, m].tolist()), reference_by_seed=tuple(by_run[b][:, m].tolist()),
                        difference=difference_of(difference, drawn),
                        tokens=cases.tokens and cases.tokens.for_metric(metric),
                    )
                )  # fmt: skip
    corrected = holm([part["difference"].p for part in parts])
    rows = tuple(ComparedRow(**part, p=p) for part, p in zip(parts, corrected, strict=True))
    data, notes = opened[0].about["dataset"], tuple(opened[0].evaluation["notes"])
    return RunComparison(data["name"], data["hash"], tuple(systems), rows, tuple(left_out), notes, resamples, seed)


def _systems(runs: list[Evaluated], join_seeds: bool) -> tuple[list[ComparedSystem], list[Evaluated]]:
    """The systems in order of their first run, and the runs in the systems' order."""
    folders = [run.folder.resolve() for run in runs]
    for number, (run, folder) in enumerate(zip(runs, folders, strict=True)):
        if folder in folders[:number]:
            raise UserError(f"{run.folder} is given twice: give each run once")
        ours, theirs = run.about["dataset"]["hash"], runs[0].about["dataset"]["hash"]
        if ours != theirs:
            raise UserError(
                f"{run.folder} was trained on other data than {runs[0].folder} (hash {ours[:12]}, not {theirs[:12]}): "
                "compare runs on the same data"
            )
        if run.evaluation["again"] != runs[0].evaluation["again"]:
            raise UserError(
                f"{run.folder} and {runs[0].folder} were not evaluated alike: only one may name what users had before; "
                "evaluate both with --allow-again, or with --no-again"
            )
    groups: dict[str, list[Evaluated]] = {}
    for run in runs:
        groups.setdefault(run.settings if join_seeds else str(run.folder), []).append(run)
    if len(groups) < 2:
        lone = "all runs are seeds of one system" if len(runs) > 1 else "there is nothing to compare with"
        raise UserError(f"{lone} ({', '.join(str(run.folder) for run in runs)}): give runs of two systems")
    several_of_a_name = len({folder.name for folder in folders}) < len(folders)
    systems = []
    for group in groups.values():
        seeds = tuple(run.about["config"]["seed"] for run in group)
        if len(set(seeds)) < len(seeds):
            names = ", ".join(str(run.folder) for run in group)
            raise UserError(f"runs of one system have the same seed ({names}; {seeds}): give each seed once")
        name = str(group[0].folder) if several_of_a_name else group[0].folder.resolve().name
        name += f" ({len(seeds)} seeds)" if len(seeds) > 1 else ""
        systems.append(ComparedSystem(name, tuple(str(run.folder) for run in group), seeds, group[0].protocol))
    return systems, [run for group in groups.values() for run in group]


def _prompts(
    runs: list[Evaluated], wanted: Sequence[str] | None, metrics: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """The prompts to compare, each with its metrics, and those that are left out since not all runs have them."""
    metrics = list(dict.fromkeys(metrics))
    for name in metrics:
        if name not in TEXT_METRICS and not re.fullmatch(r"(HR|NDCG|MRR)@[1-9]\d*", name):
            raise UserError(f"unknown metric {name}: there are HR@k, NDCG@k, MRR@k, {', '.join(TEXT_METRICS)}")
    stored = [list(dict.fromkeys([*run.ranks["prompt"], *run.sentences["prompt"]])) for run in runs]
    everywhere = [p for p in stored[0] if all(p in names for names in stored)]
    for prompt in wanted or []:
        for run, names in zip(runs, stored, strict=True):
            if prompt not in names:
                raise UserError(f"{run.folder} was not evaluated on {prompt} but on {', '.join(names)}: evaluate it")
    explained = set(runs[0].sentences["prompt"])
    chosen = {
        p: [m for m in metrics if (m in TEXT_METRICS) == (p in explained)] for p in dict.fromkeys(wanted or everywhere)
    }
    without = [prompt for prompt, names in chosen.items() if not names]
    if wanted and without:
        raise UserError(f"no metric of {', '.join(metrics)} is one of prompt {without[0]}: choose --metrics that are")
    chosen = {prompt: names for prompt, names in chosen.items() if names}
    if not chosen:
        raise UserError("no prompt that all runs were evaluated on has these metrics: evaluate the runs on the same")
    left_out = dict.fromkeys(p for names in stored for p in names if p not in everywhere and not wanted)
    return chosen, list(left_out)


def table(comparison: RunComparison) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for the terminal: below each prompt and metric a row a system, with its differences."""
    several = any(len(s.seeds) > 1 for s in comparison.systems)
    pairs = len({row.reference for row in comparison.rows}) > 1
    columns = ["system", "value", *(["sd"] if several else []), *(["minus"] if pairs else [])]
    leaky = {s.name for s in comparison.systems if s.protocol == "paper"}
    lines: list[list[str]] = []
    for (prompt, metric), group in groupby(comparison.rows, lambda row: (row.prompt, row.metric)):
        rows = list(group)
        lines.append([f"{prompt} {metric}{' in %' if metric in TEXT_METRICS else ''} · n {rows[0].value.n:,}"])
        values = {rows[0].reference: (rows[0].reference_value, rows[0].reference_by_seed)}
        values |= {row.system: (row.value, row.by_seed) for row in rows}
        for name, (value, by_seed) in values.items():
            cells = [f"  {name}{' · LEAKY' if name in leaky else ''}", _bounds(metric, value)]
            if several:
                cells.append(_number(metric, float(np.std(by_seed, ddof=1))) if len(by_seed) > 1 else "")
            against = [row for row in rows if row.system == name]
            for number, row in enumerate(against):
                start = cells if number == 0 else [""] * len(cells)
                end = [_bounds(metric, row.difference, signed=True), f"{row.p:.4f}".removeprefix("0"), row.verdict]
                lines.append([*start, *([row.reference] if pairs else []), *end])
            if not against:
                lines.append(cells)
    columns += ["difference", "p", "shown"]
    return columns, [line + [""] * (len(columns) - len(line)) for line in lines]


def note(comparison: RunComparison) -> str:
    """What a reader must know of a table: how many comparisons, of what, and what the intervals cover."""
    systems, users = comparison.systems, sorted({row.value.n for row in comparison.rows})
    joined = any(len(s.seeds) > 1 for s in systems)
    seeds = "; ".join(f"{s.name}: {', '.join(map(str, s.seeds))}" for s in systems)
    parts = [
        f"{comparison.dataset} {comparison.data_hash[:12]}, test, n {' or '.join(f'{n:,}' for n in users)} users.",
        f"{len(comparison.rows)} comparisons: p is corrected for their number (Holm, 1979), the intervals are not.",
        f"Brackets: {LEVEL:.0%} paired percentile bootstrap over users{' and seeds' if joined else ''}, "
        f"{comparison.resamples:,} resamples.",
        f"Seeds: {seeds}{'; sd is the standard deviation over them' if joined else ''}.",
    ]
    if any(len(s.seeds) == 1 for s in systems):
        parts.append("A run of one seed says nothing of how another training would end.")
    parts += cut_into(comparison.rows)
    if comparison.notes:
        parts.append(f"Data: {'; '.join(comparison.notes)}.")
    if any(s.protocol == "paper" for s in systems):
        parts.append("LEAKY: protocol paper.")
    if comparison.left_out:
        parts.append(f"Left out, since not all runs have them: {', '.join(comparison.left_out)}.")
    return " ".join(parts)


def _bounds(metric: str, numbers: Estimate | Difference, signed: bool = False) -> str:
    value, low, high = (_number(metric, number, signed) for number in numbers[:3])
    return f"{value} [{low}, {high}]"


def _number(metric: str, value: float, signed: bool = False) -> str:
    """As the literature of the metric prints it: .0921, or 12.92 for per cent."""
    text = f"{abs(value):.2f}" if metric in TEXT_METRICS else f"{abs(value):.4f}".removeprefix("0")
    return ("−" if value < 0 else "+") + text if signed or value < 0 else text
