"""The main job end to end on a generated shop: plain files, a dataset folder, photo features, two models, one table.

Stopped at any point, the same call goes on with what is not done yet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vip5.audit.audit import audit_run
from vip5.data import Dataset, prepare
from vip5.demo import write_demo
from vip5.errors import UserError
from vip5.evaluation.evaluate import Evaluation
from vip5.evaluation.explanations import held_out_explanations
from vip5.evaluation.predict import explain, next_items
from vip5.evaluation.report import Case, Explained, Product, Recommended, write_report
from vip5.evaluation.results import Results
from vip5.evaluation.scores import POPULARITY
from vip5.modalities import open_modality
from vip5.modalities.encode import encode
from vip5.modalities.encoders import load_encoder
from vip5.reproduce.photos import BEAMS, FOLDERS, WITH, WITHOUT, with_and_without_photos
from vip5.training import Run

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
    if open_modality(dataset) is None:
        say("photos to features (encoder: basic)")
        encode(dataset, load_encoder("basic"))
    compared = with_and_without_photos(dataset, folder, seed=seed, device=device, say=say, quiet=quiet)
    say("auditing the data and the item codes")
    audited = audit_run(compared.runs[WITH], seed=seed)
    results = Results.record(
        [*compared.numbers, *audited.results(compared.numbers)],
        command,
        device,
        {"decode": "beam", "beams": BEAMS, "text_beams": 1, "history_excluded": True},
        audited.summary(),
    )
    results_file, report_file = folder / "results.json", folder / "report.html"
    results.save(results_file)
    note = "A generated shop: what users like in colour, shape and pattern is visible in the photos alone."
    write_report(report_file, "VIP5 quickstart", [results], _cases(compared.runs[WITH]), note)
    return Quickstart(results, results_file, report_file, _promises(compared.found), folder / FOLDERS[WITH])


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
    """Some users of the test part with a test item, every so many, as people would look at them."""
    data = run.dataset
    prompt = run.prompts["C-12"]
    told = held_out_explanations(data, prompt)
    told = told.take(np.flatnonzero(np.isin(told.user, data.tested("test"))))
    rows = told.take(np.linspace(0, len(told) - 1, _CASES).astype(int))
    sentences = explain(run, prompt.id, rows)
    found = next_items(run, "A-3", rows.user, data.history("test").take(rows.user), BEAMS)
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
