"""A baseline's run against the held-out part, as a model's is: the same users, lists, metrics, intervals and files.

A baseline reads no prompt. A ranker's answer to a task stands under each prompt of that task, so that it can be
compared with what models answered to it; a writer is asked about the same reviews as a model, and told of each what the
prompt tells.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vip5.audit.audit import Audit, audit, codes_of
from vip5.baselines.base import Baseline, Ranker, Writer
from vip5.baselines.popularity import Popularity
from vip5.baselines.run import BaselineRun
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.evaluation.card import CARD
from vip5.evaluation.evaluate import PROMPTS, Evaluation, Settings
from vip5.evaluation.explanations import explanation_results, held_out_explanations, tell_of, why_unanswered
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.results import EXPLANATION, Result, Results
from vip5.evaluation.scores import Ranked, ranking_results
from vip5.evaluation.tables import BADGES, audit_lines, markdown
from vip5.files import write_text
from vip5.prompts import Prompt, load_prompts

CODES = "sequential"  # a baseline has no item codes; the rules of the audit are tried on these


def evaluate_baseline(
    run: BaselineRun, prompts: Sequence[str] = PROMPTS, settings: Settings | None = None
) -> Evaluation:
    """Score the test part, as `evaluate` does; a next item's list has `beams` places, candidates are ranked whole."""
    settings = settings or Settings()
    evaluation, known, system = Evaluation(run), load_prompts(), run.system
    found: dict[str, tuple[HeldOut, Ranked, list[Result]]] = {}  # by task
    for name in dict.fromkeys(prompts):
        if name not in known:
            raise UserError(f"unknown prompt {name}: there are {', '.join(known)}")
        task = known[name].task
        if task == "explain" and known[name].target == "{explanation}":
            if isinstance(system, Writer):
                _explain(system, run.dataset, known[name], settings, evaluation)
            else:
                evaluation.left_out.append(f"{name}: {system.name} ranks items and writes no sentences")
            continue
        if task not in ("next", "choice"):
            raise UserError(f"prompt {name} is not evaluated: it must ask for an item, or for an explanation alone")
        if not isinstance(system, Ranker):
            evaluation.left_out.append(f"{name}: {system.name} writes sentences and ranks no items")
            continue
        if task not in found:
            held = HeldOut.of(run.dataset, "test", settings.users)
            if not len(held):
                evaluation.left_out.append(f"{name}: no user has both a training and a test part")
                continue
            found[task] = _ranked(system, run.dataset, task, held, settings)
        held, ranked, results = found[task]
        evaluation.ranked[name] = held, ranked
        evaluation.results += [result.model_copy(update={"prompt": name}) for result in results]
    return evaluation


def audit_baseline(run: BaselineRun, users: int | None = None, seed: int = 0) -> Audit:
    """The data set of a run."""
    words, refit = codes_of(CODES, run.dataset)
    return audit(run.dataset, words, refit, name=CODES, users=users, seed=seed)


def write_baseline_card(folder: Path, run: BaselineRun, results: Results) -> None:
    """Write RUN/README.md, in place of an earlier evaluation's; whole or not at all."""
    data, system = run.dataset, run.system
    facts = [
        ("system", f"{system.name}: {system.source}"),
        ("data", f"{data.manifest.name}, {data.n_users:,} users, {data.n_items:,} items, `{data.hash[:12]}`"),
        ("protocol", BADGES[data.manifest.protocol]),
        ("split", data.manifest.split),
        ("numbers fitted", f"{sum(tensor.numel() for tensor in system.tensors().values()):,}"),
        *((name, str(value)) for name, value in system.settings.model_dump().items()),
    ]
    lines = ["# A baseline's run", "", "| | |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in facts), ""]
    lines += ["## Audit", "", *audit_lines(results.audit), "", "## Results", ""]
    write_text(folder / CARD, "\n".join(lines) + "\n" + markdown(results))


def _ranked(
    system: Ranker, dataset: Dataset, task: str, held: HeldOut, settings: Settings
) -> tuple[HeldOut, Ranked, list[Result]]:
    popularity, k = Popularity.fit(dataset), max(settings.cutoffs)
    if task == "next":
        task = "next item"
        lists = [system.rank(held.histories, min(settings.beams, dataset.n_items), held.users)]
        popular = [popularity.rank(held.histories, k)]
    else:
        numbers = range(len(dataset.candidates))
        shown = [HeldOut.of(dataset, "test", settings.users, number).lists for number in numbers]
        task = f"one of {shown[0].shape[1]}"
        lists = [system.rank_candidates(part, held.histories, held.users) for part in shown]
        popular = [popularity.rank_candidates(part, held.histories) for part in shown]
    about = _about(system, dataset) | {"task": task, "prompt": ""}  # each prompt's in its turn
    ranked, other = Ranked.of(lists, held.targets), Ranked.of(popular, held.targets)
    return held, ranked, ranking_results(ranked, other, held, popularity.counts, about, settings.cutoffs, settings.seed)


def _explain(system: Writer, dataset: Dataset, prompt: Prompt, settings: Settings, evaluation: Evaluation) -> None:
    if system.feature_word and "feature" not in prompt.needs:
        evaluation.left_out.append(f"{prompt.id}: {system.name} has to be told a feature word, and it gives none")
        return
    samples = held_out_explanations(dataset, prompt, settings.users)
    if not len(samples):
        evaluation.left_out.append(f"{prompt.id}: {why_unanswered(dataset)}")
        return
    told = evaluation.told[prompt.id] = tell_of(system, dataset, prompt, samples)
    about = _about(system, dataset) | {"task": EXPLANATION, "prompt": prompt.id}
    evaluation.results += explanation_results(told, dataset.reviews, about, settings.seed)


def _about(system: Baseline, dataset: Dataset) -> dict[str, Any]:
    return {
        "dataset": dataset.manifest.name,
        "data_hash": dataset.hash,
        "protocol": dataset.manifest.protocol,
        "split": "test",
        "model": system.name,
        "seed": system.settings.seed,
    }
