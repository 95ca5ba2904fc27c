"""VIP5 beside every baseline, and without each of its parts, collected in benchmarks/results/win.json.

Usage: python benchmarks/win.py DATA [OUT] [--sets …] [--only NAME,…] [--seeds …] [--minutes N]

DATA holds the dataset folders under their names, with the vectors that win.toml's sets are measured with (see
README.md). The systems are those of win.toml. A run stays in OUT/SET/SYSTEM-SEED; what is done is not done again, what
was stopped goes on, and what another call of this script is at is left to it. When the minutes are over, or at ctrl-C,
what is finished is collected; so it is with `--minutes 0`, which runs nothing. What is stored of other sets stays.

All systems of a set are compared with VIP5 by one call of what `vip5 compare --join-seeds` does.
"""

import argparse
import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from baselines import HERE, Row, attempt, ending_after, read_rows, run_one
from pydantic import BaseModel, ConfigDict

from vip5 import __version__
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.evaluation.compare import RunComparison, compare
from vip5.evaluation.evaluate import evaluate
from vip5.evaluation.results import RESULTS, Machine, Results
from vip5.files import write_text
from vip5.predict.answers import ModelSystem
from vip5.predict.folder import is_finished
from vip5.predict.model import TrainedModel
from vip5.runs import METRICS_FILE
from vip5.training import Run, load_config, train
from vip5.training.weigh import weigh

NEXT, CHOICE, EXPLAIN = "A-3", "A-3 of 100", ("C-3", "C-12")
TASKS = {NEXT: "next", CHOICE: "choice"}
METRICS = ("HR@10", "NDCG@10")
COMMAND = "benchmarks/win.py DATA"


class System(BaseModel):
    """A system of win.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    sets: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: tuple[str, ...] = ()  # over recipe best
    of: str | None = None  # whose network it is
    row: str | None = None  # of baselines.toml


def run_system(system: System, rows: dict[str, Row], dataset: Dataset, folder: Path, seed: int) -> None:
    """Train or fit, and evaluate, as far as that is not done."""
    if system.row is not None:
        settings = rows.get(system.row) or Row(name=system.row, title=system.title)
        if system.row == "rules":
            from vip5.modalities import store_names

            settings = settings.model_copy(update={"settings": {"vectors": store_names(dataset)}})
        run_one(settings, dataset, folder, seed, COMMAND)
        return
    if not is_finished(folder):
        config = load_config("best", None, [*system.settings, f"seed={seed}"])
        if system.of is None:
            train(Run.new(config, dataset), folder, quiet=True)
        else:
            weigh_again(folder.parent / f"{system.of}-{seed}", Run.new(config, dataset), folder)
    run = ModelSystem(TrainedModel.load(folder))
    found = evaluate(run, dataset, [NEXT, *EXPLAIN] if run.catalogue.explains else [NEXT])
    found.save(folder)
    Results.record(found.results, COMMAND, notes=found.notes).save(folder / RESULTS)  # last: with it the run is done


def weigh_again(source: Path, run: Run, folder: Path) -> None:
    """The network of a finished run with the terms that another configuration has."""
    if not is_finished(source):
        raise UserError(f"{source} is not trained yet")
    run.model.load_state_dict(TrainedModel.load(source).model.state_dict())
    run.model.eval()
    if run.config.has_terms:
        weigh(run, run.dataset, NEXT, run.config.run.validate_users)
    run.finish(folder)


def run_all(systems: list[System], given: argparse.Namespace) -> None:
    """Run what is to be run and not done yet; what cannot be is said, and the next one's turn comes."""
    rows = {row.name: row for row in read_rows(HERE / "baselines.toml")}
    jobs = [(seed, system, name) for seed in given.seeds for system in systems for name in system.sets]
    for seed, system, name in jobs:
        folder, job = given.out / name / f"{system.name}-{seed}", f"{system.name} on {name}, seed {seed}"
        if name not in given.sets or seed not in system.seeds or (folder / RESULTS).is_file():
            continue
        with attempt(folder, job) as free:
            if free:
                run_system(system, rows, Dataset(given.data / name), folder, seed)


def collected(systems: list[System], name: str, out: Path) -> list[dict[str, Any]]:
    """The rows of one set: every system that is finished, compared with the first."""
    runs: dict[str, list[Path]] = {}
    for system in systems:
        folders = [out / name / f"{system.name}-{seed}" for seed in system.seeds if name in system.sets]
        if done := [folder for folder in folders if (folder / RESULTS).is_file()]:
            runs[system.name] = done
    if systems[0].name not in runs or len(runs) < 2:
        return []
    found = compare([run for folders in runs.values() for run in folders], list(TASKS), METRICS, join_seeds=True)
    if len(found.systems) != len(runs):
        raise UserError(f"{out / name}: two systems of win.toml have the same settings: leave one of them out")
    titles = dict(zip((s.name for s in found.systems), runs, strict=True))
    return [row for prompt, task in TASKS.items() for row in _rows(found, prompt, task, titles, runs)]


def _rows(
    found: RunComparison, prompt: str, task: str, names: dict[str, str], runs: dict[str, list[Path]]
) -> list[dict[str, Any]]:
    """VIP5 first, and what it is above each other system."""
    rows: list[dict[str, Any]] = []
    for metric in METRICS:
        about = {
            "data": found.dataset,
            "data_hash": found.data_hash,
            "protocol": "clean",
            "task": task,
            "metric": metric,
        }
        compared = [row for row in found.rows if (row.prompt, row.metric) == (prompt, metric)]
        own = compared[0]
        value = own.reference_value._asdict()
        parts = {"seeds": len(own.reference_by_seed), "by_seed": own.reference_by_seed}
        rows.append(about | {"system": names[own.reference], "mean": value.pop("value")} | value | parts)
        for row in compared:
            value = row.value._asdict()
            against = {
                "difference": -row.difference.value,
                "difference_low": -row.difference.high,
                "difference_high": -row.difference.low,
                "p": row.p,
            }
            parts = {"seeds": len(row.by_seed), "by_seed": row.by_seed}
            rows.append(about | {"system": names[row.system], "mean": value.pop("value")} | value | parts | against)
    return rows


def trainings(systems: list[System], name: str, out: Path) -> list[dict[str, Any]]:
    """Of each finished model: its epochs, the best one and its validation."""
    found = []
    for system in systems:
        for seed in system.seeds if name in system.sets and system.row is None and system.of is None else ():
            file = out / name / f"{system.name}-{seed}" / METRICS_FILE
            if (file.parent / RESULTS).is_file():
                lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
                best = max(
                    (line for line in lines if "validation/A-3 NDCG@10" in line),
                    key=lambda line: line["validation/A-3 NDCG@10"],
                )
                seconds = json.loads((file.parent / "summary.json").read_text("utf-8"))["seconds"]
                found.append(
                    {
                        "data": name,
                        "system": system.name,
                        "seed": seed,
                        "epochs": max(line["epoch"] for line in lines),
                        "best_epoch": best["epoch"],
                        "validation": best["validation/A-3 NDCG@10"],
                        "seconds": seconds,
                    }
                )
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    systems = [System.model_validate(s) for s in tomllib.loads((HERE / "win.toml").read_text("utf-8"))["systems"]]
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/win"))
    parser.add_argument("--sets", type=names, default=list(systems[0].sets))
    parser.add_argument("--only", type=names, help="systems, with commas between")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, help="stop after so many; a training goes on with the next call")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "win.json")
    given = parser.parse_args(arguments)
    if unknown := set(given.only or ()) - {system.name for system in systems}:
        parser.error(f"no system {', '.join(sorted(unknown))}: there are {', '.join(s.name for s in systems)}")
    wanted = [system for system in systems if not given.only or system.name in given.only]
    try:
        if given.minutes != 0:
            with ending_after(given.minutes):
                run_all(wanted, given)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    before = json.loads(given.json.read_text("utf-8")) if given.json.is_file() else {"rows": [], "trainings": []}
    rows, trained = [], []
    for name in systems[0].sets:
        new = collected(systems, name, given.out) if name in given.sets else []
        rows += new or [row for row in before["rows"] if row["data"] == name]
        trained += trainings(systems, name, given.out) if new else [t for t in before["trainings"] if t["data"] == name]
    stored = {
        "command": COMMAND,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "systems": [system.model_dump(include={"name", "title", "settings", "of", "row"}) for system in systems],
        "rows": rows,
        "trainings": trained,
    }
    write_text(given.json, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    print(f"{given.json}: {len(rows)} rows")


if __name__ == "__main__":
    main()
