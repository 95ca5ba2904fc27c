"""All baselines side by side: fitted, evaluated on the test part, and collected in benchmarks/results/baselines.json.

Usage: python benchmarks/baselines.py DATA [OUT] [--only NAME,…] [--datasets …] [--seeds …] [--minutes N]

DATA holds the dataset folders, each under its own name. The rows and their settings are those of baselines.toml. A run
stays in OUT/DATASET/ROW-SEED with its results.json; what is done is not done again, what was stopped goes on, and what
another call of this script is at is left to it. Seed 0 of all comes first. When the minutes are over, or at ctrl-C,
what is finished is collected; so it is with `--minutes 0`, which runs nothing. Stored runs that
are not in OUT stay where their data and settings are still the same: sets can be measured on different days.

Where people buy things again, next items are evaluated both with those of the history and without them.
"""

import argparse
import json
import signal
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from vip5 import __version__
from vip5.baselines.registry import BASELINES, baseline
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.evaluation.evaluate import Evaluation, evaluate
from vip5.evaluation.opened import open_on_dataset
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.results import EVERYONE, RESULTS, Machine, Results
from vip5.files import write_text
from vip5.lock import held, lock_of
from vip5.predict.baseline import fit_run
from vip5.predict.folder import is_finished, read_run
from vip5.runs import METRICS_FILE

HERE = Path(__file__).parent
SETS, SEEDS = ("beauty", "sports", "toys"), (0, 1, 2)
PROMPTS = ("A-3", "B-5", "C-3", "C-12")  # one of each task; explanations with and without the feature word
OTHER = "results-other.json"  # beside results.json: next items by the policy on repeats that is not the data's default
SHOWN = ("HR@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L")


class Row(BaseModel):
    """A row of the tables: a system with its settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    system: str | None = None  # the registered name, where the row has another
    settings: dict[str, Any] = {}
    on: dict[str, dict[str, Any]] = {}  # further settings by data set
    datasets: tuple[str, ...] = SETS
    writes: bool = False  # sentences, in place of ranking items
    asked: bool = False  # run only where it is asked for by name

    @property
    def registered(self) -> str:
        return self.system or self.name

    def settings_on(self, dataset: str, seed: int) -> dict[str, Any]:
        return self.settings | self.on.get(dataset, {}) | {"seed": seed}


def read_rows(file: Path) -> list[Row]:
    return [Row.model_validate(row) for row in tomllib.loads(file.read_text("utf-8"))["rows"]]


def run_one(row: Row, dataset: Dataset, folder: Path, seed: int, command: str) -> None:
    """Fit and evaluate, as far as that is not done."""
    if not is_finished(folder):
        settings = row.settings_on(folder.parent.name, seed)
        fit_run(row.registered, dataset, folder, settings, command, quiet=True)
    if not (folder / RESULTS).is_file():
        system, data = open_on_dataset(folder, dataset.path)
        if dataset.manifest.counts["repeats"] and not row.writes:
            other = EvaluateOptions(allow_again=not dataset.buys_again)
            record(evaluate(system, data, PROMPTS[:1], other), command).save(folder / OTHER)
        found = evaluate(system, data, PROMPTS)
        found.save(folder)
        record(found, command).save(folder / RESULTS)  # last: with it the run is done


def record(found: Evaluation, command: str) -> Results:
    how = {"beams": found.options.beams, "history_excluded": not found.again, "threads": torch.get_num_threads()}
    return Results.record(found.results, command, "cpu", how, notes=found.notes)


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether no other call is at this run."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(lock_of(folder), f"another call is at {folder}"))
        except UserError:
            free = False
        else:
            free = True
        yield free


@contextmanager
def attempt(folder: Path, job: str) -> Iterator[bool]:
    """Whether no other call is at this run. Inside it is made; that it is done, or why it cannot be, is said."""
    with alone(folder) as free:
        if not free:
            print(f"{job}: another call is at it", flush=True)
        try:
            yield free
            if free:
                print(f"{job}: done {datetime.now(UTC):%H:%M}", flush=True)
        except UserError as error:
            print(f"{job}: {error}", file=sys.stderr, flush=True)


def collected(row: Row, folder: Path, seed: int) -> dict[str, Any]:
    """What a finished run has to tell; UserError where there is none, or one of other settings."""
    if row.registered not in BASELINES:
        raise UserError("not registered")
    if not folder.is_dir():
        raise UserError("not run")
    if not is_finished(folder) or not (folder / RESULTS).is_file():
        raise UserError("unfinished")
    system, about = BASELINES[row.registered], read_run(folder, "baseline")
    settings = settings_of(row, folder.parent.name, seed)
    if about["baseline"] != system.name or system.check(about["config"]).model_dump(mode="json") != settings:
        raise UserError("made with other settings than its row has: remove its folder, or mend the row")
    results = Results.load(folder / RESULTS)
    other = Results.load(folder / OTHER) if (folder / OTHER).is_file() else None
    return {
        "row": row.name,
        "dataset": folder.parent.name,
        "seed": seed,
        "data_hash": about["dataset"]["hash"],
        "protocol": about["dataset"]["protocol"],
        "settings": settings,
        "date": results.date,
        "version": results.version,
        "machine": results.machine.model_dump(),
        "threads": results.decoding.get("threads"),
        "training": training(folder, getattr(system, "goal", "")),
        "notes": list(results.notes),
        "test": metrics(results),
        "other": None if other is None else {"notes": list(other.notes), "test": metrics(other)},
    }


def metrics(results: Results) -> dict[str, dict[str, Any]]:
    """By prompt and metric, of all users."""
    found: dict[str, dict[str, Any]] = {}
    for r in results.results:
        if (r.kind, r.group) == ("model", EVERYONE) and r.prompt in PROMPTS and r.metric in SHOWN:
            found.setdefault(r.prompt, {})[r.metric] = {"value": r.value, "low": r.low, "high": r.high, "n": r.n}
    return found


def training(folder: Path, goal: str) -> dict[str, Any] | None:
    """Epochs, minutes (the validation's among them) and the best validation; None of what has no epochs."""
    if not (folder / METRICS_FILE).is_file():
        return None
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text("utf-8").splitlines()]
    scores = [line.get(f"validation/{goal}", 0.0) for line in lines]
    best = max(range(len(lines)), key=lambda n: (scores[n], -n)) if any(scores) else len(lines) - 1
    minutes = [line["seconds"] / 60 for line in lines]
    return {
        "epochs": len(lines),
        "best_epoch": best + 1,
        "minutes": round(sum(minutes), 2),
        "minutes_to_best": round(sum(minutes[: best + 1]), 2),
        "validated_by": goal,
        "validation": scores[best],
    }


def collect(
    rows: list[Row], data_folder: Path, out: Path, seeds: list[int], command: str, before: dict[str, Any]
) -> dict[str, Any]:
    """Finished runs under `out`, the stored ones of `before` on the same data, and what is missing, with the reason."""
    runs: list[dict[str, Any]] = []
    missing: dict[tuple[str, str, str], list[int]] = {}  # seeds by row, data set and reason
    for row in rows:
        for dataset in row.datasets:
            for seed in seeds:
                try:
                    runs.append(collected(row, out / dataset / f"{row.name}-{seed}", seed))
                except UserError as error:
                    missing.setdefault((row.name, dataset, str(error)), []).append(seed)
    kept = still_valid(rows, before, runs, orders_of(data_folder))
    there = {(run["row"], run["dataset"], run["seed"]) for run in kept}
    not_run = [
        {"row": row, "dataset": dataset, "seeds": lacking, "why": why}
        for (row, dataset, why), at in missing.items()
        if (lacking := [seed for seed in at if (row, dataset, seed) not in there])
    ]
    data: dict[str, dict[str, Any]] = {}
    for run in runs + kept:
        own = {"hash": run["data_hash"], "protocol": run["protocol"]}
        if data.setdefault(run["dataset"], own) != own:
            raise UserError(f"two data sets under one name ({out / run['dataset']}): keep the runs of one")
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "data": data,
        "rows": [row.model_dump(include={"name", "title", "writes", "datasets"}, mode="json") for row in rows],
        "runs": in_order(runs + kept, rows),
        "not_run": not_run,
    }


def still_valid(
    rows: list[Row], before: dict[str, Any], now: list[dict[str, Any]], orders: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """The stored runs that were not made again: of the same data as the new ones, and what their row says still."""
    named = {row.name: row for row in rows}
    hashes = {run["dataset"]: run["data_hash"] for run in now}
    again = {(run["row"], run["dataset"], run["seed"]) for run in now}
    return [
        {"version": before["version"], "other": None}
        | run
        | {"notes": run.get("notes") or orders.get(run["data_hash"], [])}
        for run in before.get("runs", ())
        if (run["row"], run["dataset"], run["seed"]) not in again
        and run["data_hash"] == hashes.get(run["dataset"], run["data_hash"])
        and (row := named.get(run["row"]))
        and run["dataset"] in row.datasets
        and run["settings"] == settings_of(row, run["dataset"], run["seed"])
    ]


def orders_of(data_folder: Path) -> dict[str, list[str]]:
    """Where the order within a user comes from, by data hash: what runs of before versions do not tell themselves."""
    folders = [Dataset(file.parent) for file in sorted(data_folder.glob("*/manifest.json"))]
    return {dataset.hash: [dataset.order_note] for dataset in folders}


def settings_of(row: Row, dataset: str, seed: int) -> dict[str, Any]:
    """All settings of a run, defaults included."""
    return BASELINES[row.registered].check(row.settings_on(dataset, seed)).model_dump(mode="json")


def in_order(runs: list[dict[str, Any]], rows: list[Row]) -> list[dict[str, Any]]:
    """By row, then by data set as the row has them, then by seed."""
    place = {(row.name, name): (n, m) for n, row in enumerate(rows) for m, name in enumerate(row.datasets)}
    return sorted(runs, key=lambda run: (place[run["row"], run["dataset"]], run["seed"]))


@contextmanager
def ending_after(minutes: float | None) -> Iterator[None]:
    """What runs inside ends then as by ctrl-C."""
    if minutes is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_all(rows: list[Row], given: argparse.Namespace, command: str) -> None:
    """Run what is to be run and not done yet; what cannot be is said, and the next one's turn comes."""
    opened: dict[str, Dataset] = {}
    for seed in given.seeds:
        for row in rows:
            for name in (name for name in row.datasets if name in given.datasets):
                folder, job = given.out / name / f"{row.name}-{seed}", f"{row.name} on {name}, seed {seed}"
                if (folder / RESULTS).is_file():
                    continue
                with attempt(folder, job) as free:
                    if free:
                        baseline(row.registered)  # which says why there is none
                        opened.setdefault(name, Dataset(given.data / name))
                        run_one(row, opened[name], folder, seed, command)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/baselines"))
    parser.add_argument("--only", type=names, help="rows, with commas between")
    parser.add_argument("--datasets", type=names, default=list(SETS))
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=list(SEEDS))
    parser.add_argument("--minutes", type=float, help="stop after so many; a training goes on with the next call")
    parser.add_argument("--rows", type=Path, default=HERE / "baselines.toml")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "baselines.json")
    given = parser.parse_args(arguments)
    rows = read_rows(given.rows)
    if unknown := set(given.only or ()) - {row.name for row in rows}:
        parser.error(f"no row {', '.join(sorted(unknown))}: there are {', '.join(row.name for row in rows)}")
    wanted = [row for row in rows if (row.name in given.only if given.only else not row.asked)]
    command = "benchmarks/baselines.py DATA"
    try:
        if given.minutes != 0:
            with ending_after(given.minutes):
                run_all(wanted, given, command)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    before = json.loads(given.json.read_text("utf-8")) if given.json.is_file() else {}
    stored = collect(rows, given.data, given.out, sorted({*SEEDS, *given.seeds}), command, before)
    write_text(given.json, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    print(f"{given.json}: {len(stored['runs'])} runs")
    for lacks in stored["not_run"]:
        print("{row} on {dataset}, seeds {seeds}: {why}".format(**lacks))


if __name__ == "__main__":
    main()
