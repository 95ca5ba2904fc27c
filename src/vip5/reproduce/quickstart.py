"""The main job end to end on a generated shop: plain files, a dataset folder, photo features, two models, one table.

Stopped at any point, the same call goes on with what is not done yet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vip5.audit.audit import audit_system
from vip5.data import Dataset, prepare
from vip5.demo import write_demo
from vip5.errors import UserError
from vip5.evaluation.evaluate import Evaluation
from vip5.evaluation.report import write_report
from vip5.evaluation.results import Results
from vip5.evaluation.scores import POPULARITY
from vip5.evaluation.shown import some_cases
from vip5.modalities import store_names
from vip5.modalities.encode import encode
from vip5.modalities.encoders import load_encoder
from vip5.reproduce.photos import FOLDERS, WITH, WITHOUT, with_and_without_photos

PHOTO = "photo"


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
    if PHOTO not in store_names(dataset):
        say("photos to vectors (encoder: basic)")
        encode(dataset, load_encoder("basic"), PHOTO)
    compared = with_and_without_photos(dataset, folder, seed=seed, device=device, say=say, quiet=quiet)
    say("auditing the data and the item codes")
    first = compared.found[WITH]
    audited = audit_system(first.system, dataset, seed=seed)
    results = Results.record(
        [*compared.numbers, *audited.results(compared.numbers)],
        command,
        device,
        first.options.model_dump(include={"decode", "beams", "text_beams"}) | {"history_excluded": not first.again},
        audited.summary(),
        first.notes,
    )
    results_file, report_file = folder / "results.json", folder / "report.html"
    results.save(results_file)
    note = "A generated shop: what users like in colour, shape and pattern is visible in the photos alone."
    write_report(report_file, "VIP5 quickstart", [results], some_cases(first), note)
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
