"""VIP5 beside every baseline, and without each of its parts, collected in benchmarks/results/win.json.

Usage: python benchmarks/win.py DATA [OUT] [--sets …] [--only NAME,…] [--seeds …] [--backbone T5] [--minutes N]

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

import numpy as np
import polars as pl
from baselines import HERE, Row, attempt, ending_after, read_rows, run_one
from pydantic import BaseModel, ConfigDict

from vip5 import __version__
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.evaluation.cases import Evaluated
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
TEXT = ("BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L")
PAIRED = ("BLEU-4", "ROUGE-L")  # what `vip5 compare` compares of sentences
ABOUT_TEXT = ("FMR", "USR")  # of what a system wrote alone
VALIDATED = {False: "validation/A-3 NDCG@10", True: "validation/explanations log-likelihood"}
SENTENCES = 20  # of each writer and prompt, drawn at random, stay beside its numbers
COMMAND = "benchmarks/win.py DATA"


class System(BaseModel):
    """A system of win.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    sets: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: tuple[str, ...] = ()  # over the recipe
    recipe: str = "best"
    pretrained: bool = False  # over the T5 that --backbone names
    writes: bool = False  # sentences, in place of ranking items
    of: str | None = None  # whose network it is
    row: str | None = None  # of baselines.toml


def run_system(
    system: System, rows: dict[str, Row], dataset: Dataset, folder: Path, seed: int, backbone: Path | None
) -> None:
    """Train or fit, and evaluate, as far as that is not done."""
    if system.row is not None:
        settings = rows.get(system.row) or Row(name=system.row, title=system.title)
        if system.row == "rules":
            from vip5.modalities import store_names

            settings = settings.model_copy(update={"settings": {"vectors": store_names(dataset)}})
        run_one(settings, dataset, folder, seed, COMMAND)
        return
    if not is_finished(folder):
        over = [f"model.backbone={backbone}"] if system.pretrained else []
        if system.pretrained and backbone is None:
            raise UserError("it stands on a pretrained T5: give its folder with --backbone")
        config = load_config(system.recipe, None, [*system.settings, *over, f"seed={seed}"])
        if system.of is None:
            train(Run.new(config, dataset), folder, quiet=True)
        else:
            weigh_again(folder.parent / f"{system.of}-{seed}", Run.new(config, dataset), folder)
    run = ModelSystem(TrainedModel.load(folder))
    prompts = EXPLAIN if system.writes else (NEXT, *EXPLAIN) if run.catalogue.explains else (NEXT,)
    found = evaluate(run, dataset, prompts)
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
                run_system(system, rows, Dataset(given.data / name), folder, seed, given.backbone)


def measured(systems: list[System], name: str, out: Path) -> dict[str, list[dict[str, Any]]]:
    """What is finished of a set; a part of which nothing is, is empty."""
    explanations, sentences = written(systems, name, out)
    found = {"rows": collected(systems, name, out) + explanations, "sentences": sentences}
    return found | {"trainings": trainings(systems, name, out) if any(found.values()) else []}


def collected(systems: list[System], name: str, out: Path) -> list[dict[str, Any]]:
    """The rows of one set: every system that is finished, compared with the first."""
    runs: dict[str, list[Path]] = {}
    for system in systems:
        if system.writes:
            continue
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


def written(systems: list[System], name: str, out: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is measured of the explanations of one set, the first writer beside each other; and some sentences."""
    rows, examples = [], []
    writers = [s for s in systems if s.writes and (out / name / f"{s.name}-{s.seeds[0]}" / RESULTS).is_file()]
    for prompt in EXPLAIN:
        folders = {
            s.name: folder
            for s in writers
            if prompt in Evaluated.load(folder := out / name / f"{s.name}-{s.seeds[0]}").sentences["prompt"]
        }
        if not folders or writers[0].name not in folders:
            continue
        about = {"data": name, "protocol": "clean", "task": "explain", "prompt": prompt}
        beside = compare(list(folders.values()), [prompt], PAIRED) if len(folders) > 1 else None
        for system, folder in folders.items():
            results = [r for r in Results.load(folder / RESULTS).results if r.prompt == prompt]
            told = {r.metric: r for r in results if r.metric in (*TEXT, *ABOUT_TEXT)}
            for metric, found in told.items():
                row = about | {"system": system, "metric": metric, "mean": found.value, "low": found.low}
                row |= {"high": found.high, "n": found.n, "seeds": 1, "data_hash": found.data_hash}
                rows.append(row | _above(beside, folder, metric))
            examples.append(about | {"system": system, "sentences": _drawn(folder, prompt)})
    return rows, examples


def _above(beside: RunComparison | None, folder: Path, metric: str) -> dict[str, float]:
    """What the first system is above this one, where they are compared in this metric."""
    for row in beside.rows if beside is not None else ():
        if row.system == folder.name and row.metric == metric:
            return {
                "difference": -row.difference.value,
                "difference_low": -row.difference.high,
                "difference_high": -row.difference.low,
                "p": row.p,
            }
    return {}


def _drawn(folder: Path, prompt: str) -> list[dict[str, str]]:
    """Some sentences, the same people and items for every system of a set."""
    told = Evaluated.load(folder).sentences.filter(pl.col("prompt") == prompt).sort("user", "item")
    drawn = np.random.default_rng(0).choice(len(told), min(SENTENCES, len(told)), replace=False)
    return told[np.sort(drawn)].select("user", "item", "written", "truth").to_dicts()


def trainings(systems: list[System], name: str, out: Path) -> list[dict[str, Any]]:
    """Of each finished model: its epochs, the best one and its validation."""
    found = []
    for system in systems:
        for seed in system.seeds if name in system.sets and system.row is None and system.of is None else ():
            file = out / name / f"{system.name}-{seed}" / METRICS_FILE
            if (file.parent / RESULTS).is_file():
                lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
                by = VALIDATED[system.writes]
                best = max((line for line in lines if by in line), key=lambda line: line[by])
                seconds = json.loads((file.parent / "summary.json").read_text("utf-8"))["seconds"]
                found.append(
                    {
                        "data": name,
                        "system": system.name,
                        "seed": seed,
                        "epochs": max(line["epoch"] for line in lines),
                        "best_epoch": best["epoch"],
                        "validation": best[by],
                        "validated_by": by.removeprefix("validation/"),
                        "seconds": seconds,
                    }
                )
    return found


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What is stored anew together: a task of a set, or one training."""
    return (row["task"],) if "task" in row else (row["system"], row["seed"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    systems = [System.model_validate(s) for s in tomllib.loads((HERE / "win.toml").read_text("utf-8"))["systems"]]
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/win"))
    parser.add_argument("--sets", type=names, default=list(dict.fromkeys(name for s in systems for name in s.sets)))
    parser.add_argument("--only", type=names, help="systems, with commas between")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--backbone", type=Path, help="folder of a pretrained T5, for the systems that stand on one")
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
    before = json.loads(given.json.read_text("utf-8")) if given.json.is_file() else {}
    parts: dict[str, list[dict[str, Any]]] = {"rows": [], "sentences": [], "trainings": []}
    for name in dict.fromkeys(name for system in systems for name in system.sets):
        found = measured(systems, name, given.out) if name in given.sets else {}
        for part, stored in parts.items():
            new = found.get(part, [])
            there = {_key(row) for row in new}
            old = [row for row in before.get(part, []) if row["data"] == name and _key(row) not in there]
            stored += sorted([*new, *old], key=lambda row: (*TASKS.values(), "explain", None).index(row.get("task")))
    whole = {
        "command": COMMAND,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "systems": [
            system.model_dump(include={"name", "title", "settings", "of", "row", "recipe", "writes"})
            for system in systems
        ],
        **parts,
    }
    write_text(given.json, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    print(f"{given.json}: {', '.join(f'{len(rows)} {part}' for part, rows in parts.items())}")


if __name__ == "__main__":
    main()
