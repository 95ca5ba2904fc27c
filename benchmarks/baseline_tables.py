"""The tables of `baselines.py`, with what others report (published.toml) beside, and of `reference_baselines.py` and
`trials.py`."""

import json
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from own_tables import _bounds, _number

PUBLISHED = Path(__file__).parent / "published.toml"
TASKS = {
    "A-3": ("Next item", ("HR@5", "NDCG@5", "HR@10", "NDCG@10")),
    "B-5": ("One of 100", ("HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10")),
    "C-3": ("Explanation, per cent", ("BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L")),
    "C-12": ("Explanation with the feature word, per cent", ("BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L")),
}
SUMMARY = "A-3", ("HR@10", "NDCG@10"), ("beauty", "sports", "toys")


def baselines(folder: Path) -> str:
    """Every task on every data set: each system's numbers, and below them what others report for it."""
    stored = _stored(folder)
    parts = []
    for prompt in TASKS:
        for dataset in stored["data"]:
            parts += _table(stored, prompt, dataset) + _table(_of_other_policy(stored), prompt, dataset)
    return "\n\n".join([*parts, _source(stored)]) + "\n"


def _table(stored: dict[str, Any], prompt: str, dataset: str) -> list[str]:
    """A heading and a table; nothing where nothing was measured."""
    (title, metrics), data = TASKS[prompt], stored["data"][dataset]
    rows = _rows(stored, prompt, [dataset])
    measured = [run for row in rows for run in _runs(stored, row, dataset, prompt)]
    if not measured:
        return []
    notes = "".join(f"; {note}" for note in dict.fromkeys(note for run in measured for note in run.get("notes", ())))
    head = ["system", "", *metrics, "seeds", "validation", "best epoch", "minutes to it", "minutes"]
    lines = [f"| {' | '.join(head)} |", "| --- | --- " + "| ---: " * (len(head) - 2) + "|"]
    for row in rows:
        for source, numbers in _published(row["name"], dataset, prompt):
            cells = [_form(numbers[m], prompt) if m in numbers else "" for m in metrics]
            lines.append(f"| {row['title']} | {source} | {' | '.join(cells)} | | | | | |")
        runs = _runs(stored, row, dataset, prompt)
        numbers = [_over_seeds(runs, prompt, m) for m in metrics] if runs else [""] * len(metrics)
        cells = [row["title"], "ours" if runs else "not run", *numbers, str(len(runs) or ""), *_training(runs)]
        lines.append(f"| {' | '.join(cells)} |")
    heading = f"**{title}** · {dataset}, test, protocol {data['protocol']}, data `{data['hash'][:12]}`{notes}"
    return [heading, "\n".join(lines)]


def _of_other_policy(stored: dict[str, Any]) -> dict[str, Any]:
    """The same runs, evaluated by the policy on repeats that is not the data's default, where they were."""
    return stored | {"runs": [run | run["other"] for run in stored["runs"] if run.get("other")]}


def summary(folder: Path) -> str:
    """The next item, data sets side by side."""
    stored, (prompt, _, sets) = _stored(folder), SUMMARY
    head = [f"{dataset}, {kind}" for dataset in sets for kind in ("published", "ours")]
    lines = [f"| {TASKS[prompt][0].lower()} | {' | '.join(head)} |", "| --- " + "| ---: " * len(head) + "|"]
    for row in _rows(stored, prompt, sets):
        cells = [_short(stored, row, dataset, kind) for dataset in sets for kind in ("published", "ours")]
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _source(stored)]) + "\n"


def reference(folder: Path) -> str:
    """Other implementations beside ours, on the same data and by the same metrics."""
    stored = json.loads((folder / "reference.json").read_text("utf-8"))
    head = ["peer", "data", "task", "its NDCG@10", "our NDCG@10", "ours − its", "same ranks"]
    head += ["its CPU s an epoch", "our CPU s an epoch", "epochs, its / ours"]
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- " + "| ---: " * 7 + "|"]
    for row in stored["rows"]:
        for task, metrics in row["test"].items():
            cell, epochs = metrics["NDCG@10"], row["epochs"]
            cells = [row["peer"], row["dataset"], task, _bounds(cell["peer"]), _bounds(cell["ours"])]
            cells += [_bounds(cell["difference"], True), f"{row['same_ranks'][task]:.1%}"]
            cells += [f"{row['seconds'][side] / (epochs[side] or 1):.2f}" for side in ("peer", "ours")]
            cells.append(f"{epochs['peer']} / {epochs['ours']}" if epochs["peer"] else "")
            lines.append(f"| {' | '.join(cells)} |")
    told = [
        f"{row['peer']} ({row['library']}): {_words(row['settings']['peer'])}"
        + (f", best of {len(row['tried'])} by validation" if len(row["tried"]) > 1 else "")
        + (f"; {row['note']}" if row["note"] else "")
        for row in stored["rows"]
    ]
    hashes = ", ".join(
        f"{name} `{data[:12]}`" for name, data in {r["dataset"]: r["data_hash"] for r in stored["rows"]}.items()
    )
    given = dict.fromkeys(f"{row['system']} {_words(row['given'])}" for row in stored["rows"] if row["given"])
    m = stored["machine"]
    return "\n".join(lines) + (
        f"\n\n{'. '.join(told)}. Ours has its defaults, but for {'; '.join(given)}.\n\nBrackets: 95 % bootstrap over "
        f"users, 10,000 resamples, the difference's paired. Test part, all users, seed 0, protocol "
        f"{stored['rows'][0]['protocol']}, data {hashes}. Measured by `{stored['command']}` (vip5 {stored['version']}) "
        f"on {stored['date'][:10]}; {m['cpu']}, {stored['threads']} of {m['cores']} cores, Python {m['python']}, "
        f"torch {m['torch']}.\n"
    )


def trials(folder: Path) -> str:
    """What was tried of SASRec, by the validation part."""
    stored = json.loads((folder / "trials.json").read_text("utf-8"))
    head = ["data", "settings", "NDCG@10", "HR@10", "best epoch", "epochs", "minutes"]
    lines = [f"| {' | '.join(head)} |", "| --- | --- " + "| ---: " * 5 + "|"]
    for row in stored["trials"]:
        numbers = [_number(row["validation"][metric]) for metric in ("NDCG@10", "HR@10")]
        epochs = f"{row['epochs']}{'' if row['finished'] else ', stopped'}"
        cells = [row["dataset"], _words(row["settings"]), *numbers, str(row["best_epoch"]), epochs]
        lines.append(f"| {' | '.join(cells)} | {row['minutes']:.1f} |")
    told = ("averaging", "leave_out", "dropout", "patience", "lr")
    defaults = _words({name: stored["defaults"][name] for name in told})
    data = {row["dataset"]: row["data_hash"] for row in stored["trials"]}
    hashes = ", ".join(f"{name} `{digest[:12]}`" for name, digest in data.items())
    return "\n".join(lines) + (
        f"\n\nValidation part, 5,000 users spread evenly; a seed each. Settings are beside the defaults ({defaults}). "
        f"Data {hashes}. Collected by `{stored['command']}` (vip5 {stored['version']}) on {stored['date'][:10]}; "
        f"{stored['machine']['cpu']}, 1 of {stored['machine']['cores']} cores.\n"
    )


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "defaults"


def _short(stored: dict[str, Any], row: dict[str, Any], dataset: str, kind: str) -> str:
    prompt, metrics, _ = SUMMARY
    if kind == "published":
        return "; ".join(
            " / ".join(_form(found[m], prompt) if m in found else "–" for m in metrics)
            + ", LEAKY" * (source == "leaky")
            for source, found in _published(row["name"], dataset, prompt)
        )
    runs = _runs(stored, row, dataset, prompt)
    if not runs:
        return "not run"
    first, second = metrics
    numbers = f"{_form(mean(_values(runs, prompt, first)), prompt)} / {_over_seeds(runs, prompt, second, False)}"
    minutes = _training(runs)[-1]
    return f"{numbers} · {len(runs)} seed{'s' * (len(runs) > 1)}" + (f" · {minutes} min" if minutes else "")


def _rows(stored: dict[str, Any], prompt: str, sets: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that have a number of this task on one of the data sets, or were to have one."""
    return [
        row
        for row in stored["rows"]
        for runs in [[run for run in stored["runs"] if run["row"] == row["name"] and run["dataset"] in sets]]
        if any(prompt in run["test"] for run in runs)
        or any(_published(row["name"], dataset, prompt) for dataset in sets)
        or (not runs and row["writes"] == prompt.startswith("C") and set(sets) & set(row["datasets"]))
    ]


def _runs(stored: dict[str, Any], row: dict[str, Any], dataset: str, prompt: str) -> list[dict[str, Any]]:
    of_row = [run for run in stored["runs"] if (run["row"], run["dataset"]) == (row["name"], dataset)]
    return [run for run in of_row if prompt in run["test"]]


@cache
def _all_published() -> dict[str, Any]:
    return tomllib.loads(PUBLISHED.read_text("utf-8"))


def _published(row: str, dataset: str, prompt: str) -> list[tuple[str, dict[str, float]]]:
    """Source and numbers by metric."""
    return [
        (found["source"], dict(zip(found["metrics"], found["values"][dataset], strict=True)))
        for found in _all_published()["numbers"]
        if (found["row"], found["prompt"]) == (row, prompt) and dataset in found["values"]
    ]


def _values(runs: list[dict[str, Any]], prompt: str, metric: str) -> list[float]:
    return [run["test"][prompt][metric]["value"] for run in runs]


def _over_seeds(runs: list[dict[str, Any]], prompt: str, metric: str, interval: bool = True) -> str:
    """Mean ± standard deviation over seeds; of one seed the interval over users."""
    values = _values(runs, prompt, metric)
    if len(values) > 1:
        return f"{_form(mean(values), prompt)} ± {_form(stdev(values), prompt)}"
    if not interval:
        return _form(values[0], prompt)
    cell = runs[0]["test"][prompt][metric]
    return "{} [{}, {}]".format(*(_form(cell[name], prompt) for name in ("value", "low", "high")))


def _training(runs: list[dict[str, Any]]) -> list[str]:
    """Validation, best epoch, minutes to it, minutes; means over seeds, empty for what has no epochs."""
    told = [run["training"] for run in runs if run["training"]]
    if not told:
        return [""] * 4
    validation, epoch, to_best, minutes = (
        mean(run[name] for run in told) for name in ("validation", "best_epoch", "minutes_to_best", "minutes")
    )
    return [_number(validation), f"{epoch:.0f}", f"{to_best:.1f}", f"{minutes:.1f}"]


def _form(value: float, prompt: str) -> str:
    return f"{value:.2f}" if prompt.startswith("C") else _number(value)


def _stored(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "baselines.json").read_text("utf-8"))


def _source(stored: dict[str, Any]) -> str:
    runs = stored["runs"]
    days = sorted({run["date"][:10] for run in runs})
    machines = dict.fromkeys(
        f"{run['machine']['cpu']}, {run['threads'] or 'some'} of {run['machine']['cores']} cores" for run in runs
    )
    hashes = ", ".join(f"{name} `{data['hash'][:12]}`" for name, data in stored["data"].items())
    sources = "; ".join(f"{name}: {words}" for name, words in _all_published()["sources"].items())
    seeds = ", ".join(str(seed) for seed in sorted({run["seed"] for run in runs}))
    return (
        f"± is the standard deviation over seeds; brackets, of one seed: 95 % bootstrap over users. Minutes are of one "
        f"training until it stopped, its validation among them; validation is what the epoch was chosen by. Published "
        f"is {sources}. Test part, all users; data {hashes}; seeds {seeds}. Measured by `{stored['command']}` (vip5 "
        f"{stored['version']}) on {' to '.join(dict.fromkeys((days[0], days[-1])))}; {'; '.join(machines)}."
    )
