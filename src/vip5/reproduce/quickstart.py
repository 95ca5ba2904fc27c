"""The main job end to end on a generated shop: plain files, a dataset folder, photo features, two models, one table.

Stopped at any point, the same call goes on with what is not done yet.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from vip5.data import Dataset, prepare
from vip5.data.demo import write_demo
from vip5.errors import UserError
from vip5.evaluation.evaluate import (
    POPULARITY,
    Evaluation,
    evaluate,
    held_out_explanations,
)
from vip5.evaluation.intervals import estimate, paired_difference
from vip5.evaluation.predict import explain, next_items
from vip5.evaluation.ranking import ranking_metrics
from vip5.evaluation.report import Case, Explained, Product, Recommended, write_report
from vip5.evaluation.results import Result, Results
from vip5.features import open_features
from vip5.features.encode import encode
from vip5.features.encoders import load_encoder
from vip5.prompts.samples import take_rows
from vip5.training import Run, load_config, train
from vip5.training.loop import METRICS_FILE

WITH, WITHOUT = "VIP5", "VIP5 without photos"
BEAMS = 20
_CASES = 10


@dataclass(frozen=True)
class Quickstart:
    """What the main job left: numbers, files, and whether the model keeps what the product promises."""

    results: Results
    results_file: Path
    report_file: Path
    promises: dict[str, bool]
    run: Path


def quickstart(
    folder: Path, seed: int, device: str, say: Callable[[str], None], quiet: bool, command: str
) -> Quickstart:
    """Run what is missing of the main job in `folder` and give its results; `say` is told what is going on."""
    dataset = _dataset(folder, seed, say)
    if open_features(dataset) is None:
        say("photos to features (encoder: basic)")
        encode(dataset, load_encoder("basic"))
    folders = {WITH: folder / "with-photos", WITHOUT: folder / "without-photos"}
    say("training with photos and without (preset nano, from scratch)")
    _train_both(folders, dataset, seed, device, quiet)
    runs, found = {}, {}
    for label, out in folders.items():
        say(f"evaluating {label}")
        runs[label] = Run.load(out, dataset.path, device)
        found[label] = evaluate(runs[label], beams=BEAMS, seed=seed, label=label)

    numbers = [*found[WITH].results, *_beside(found[WITHOUT].results), *_photo_gain(found, runs[WITH], seed)]
    results = Results.record(numbers, command, device, {"beams": BEAMS, "text_beams": 1, "history_excluded": True})
    results_file, report_file = folder / "results.json", folder / "report.html"
    results.save(results_file)
    note = "A generated shop: what users like in colour, shape and pattern is visible in the photos alone."
    write_report(report_file, "VIP5 quickstart", [results], _cases(runs[WITH]), note)
    return Quickstart(results, results_file, report_file, _promises(found), folder / "with-photos")


def _dataset(folder: Path, seed: int, say: Callable[[str], None]) -> Dataset:
    shop, data = folder / "shop", folder / "dataset"
    if not (data / "manifest.json").is_file():
        if not shop.is_dir():
            say("generating a shop: 600 users, 400 products with photos")
            write_demo(shop, seed=seed)
        say("plain files to a dataset folder")
        tables: dict[str, Any] = {name: shop / f"{name}.csv" for name in ("interactions", "items", "reviews")}
        prepare(data, **tables, images=shop / "images", name="demo", seed=seed)
    dataset = Dataset(data)
    if dataset.manifest.seed != seed:
        raise UserError(
            f"{folder} holds a quickstart with seed {dataset.manifest.seed}: choose another --out, or remove it"
        )
    return dataset


def _train_both(folders: dict[str, Path], dataset: Dataset, seed: int, device: str, quiet: bool) -> None:
    """Train what is not trained yet, side by side with a thread each: two small models fill two cores better so."""
    overrides = {WITH: [f"seed={seed}"], WITHOUT: [f"seed={seed}", "model.image_tokens=0"]}
    missing = [label for label, out in folders.items() if not (out / "run.json").is_file()]
    workers = max(1, min(len(missing), os.cpu_count() or 1))
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[loss]}"))
    progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=quiet)
    with progress, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = {
            pool.submit(_train_one, dataset.path, folders[label], overrides[label], device): (
                folders[label],
                progress.add_task(label, total=1.0, loss=""),
            )
            for label in missing
        }
        waiting = set(jobs)
        while waiting:
            done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
            for out, bar in jobs.values():
                if line := _last_line(out / METRICS_FILE):
                    progress.update(bar, completed=line["progress"], loss=f"loss {line['loss']:.2f}")


def _train_one(dataset: Path, out: Path, overrides: list[str], device: str) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    train(Run.new(load_config("nano", None, overrides), Dataset(dataset)), out, device, quiet=True)


def _last_line(file: Path) -> dict[str, float] | None:
    """The newest whole line of a metrics file that is being written."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 2000))
            lines = stream.read().split(b"\n")
        return json.loads(lines[-2]) if len(lines) > 1 else None
    except (OSError, ValueError):
        return None


def _beside(results: list[Result]) -> list[Result]:
    """The second model's own numbers, without the baseline that already stands beside the first's."""
    alone = {"baseline", "difference", "p"}
    return [
        Result.model_validate({k: v for k, v in r.model_dump().items() if k.partition("_")[0] not in alone})
        for r in results
    ]


def _photo_gain(found: dict[str, Evaluation], run: Run, seed: int) -> list[Result]:
    """With photos against without, on the same users: paired differences."""
    gains = []
    for r in found[WITH].results:
        if r.prompt not in found[WITH].ranks:
            continue
        with_photos, without = (ranking_metrics(found[label].ranks[r.prompt], (1, 5, 10)) for label in (WITH, WITHOUT))
        about = r.model_dump(include={"dataset", "data_hash", "protocol", "split", "task", "prompt", "metric", "seed"})
        gains.append(
            Result.of(
                estimate(with_photos[r.metric], seed=seed),
                estimate(without[r.metric], seed=seed),
                paired_difference(with_photos[r.metric], without[r.metric], seed=seed),
                **about,
                model=WITH,
                baseline=WITHOUT,
            )
        )
    return gains


def _promises(found: dict[str, Evaluation]) -> dict[str, bool]:
    """What the product stands for, as this run shows it."""

    def value(label: str, prompt: str) -> tuple[float, float]:
        r = next(r for r in found[label].results if (r.prompt, r.metric) == (prompt, "NDCG@10"))
        return r.value, r.baseline_value or 0.0

    above = {
        f"{prompt}: above {POPULARITY}": value(WITH, prompt)[0] > value(WITH, prompt)[1]
        for prompt in ("A-3", "A-9", "B-5", "B-8")
    }
    photos = {
        f"{prompt}: with photos above without": value(WITH, prompt)[0] > value(WITHOUT, prompt)[0]
        for prompt in ("B-5", "B-8")
    }
    return above | photos


def _cases(run: Run) -> list[Case]:
    """Some users of the test part, every so many, as people would look at them."""
    data = run.dataset
    prompt = run.prompts["C-12"]
    told = held_out_explanations(run, prompt)
    rows = told.take(np.linspace(0, len(told) - 1, _CASES).astype(int))
    sentences = explain(run, prompt.id, rows)
    found = next_items(run, "A-3", rows.user, take_rows(data.history("test"), rows.user), BEAMS)
    targets, written = data.targets("test"), data.reviews["explanation"]

    def product(item: int) -> Product:
        return Product(data.items["title"][item] or data.items["item"][item], data.photo_path(item))

    cases = []
    for n, user in enumerate(rows.user):
        shown = zip(found.items[n, :8].tolist(), found.scores[n, :8].tolist(), strict=True)
        truth = int(targets[user])
        cases.append(
            Case(
                data.users["name"][int(user)] or data.users["user"][int(user)],
                [product(int(item)) for item in data.history("test")[int(user)]],
                [Recommended(product(i), float(np.exp(score)), i == truth) for i, score in shown],
                product(truth),
                [Explained(prompt.id, sentences[n], product(int(rows.item[n])), written[int(rows.review[n])])],
            )
        )
    return cases
