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
from vip5.evaluation.results import EVERYONE, Results
from vip5.evaluation.shown import some_cases
from vip5.evaluation.verdict import METRIC, RIVALS
from vip5.modalities.builtin import make_built_in
from vip5.reproduce.photos import FOLDERS, WITH, WITHOUT, with_and_without_photos

_AS_GOOD = 1.0  # per cent of ROUGE-L, which is half the width of an interval here


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
    for name in make_built_in(dataset):
        say(f"{name}s of the items to vectors")
    compared = with_and_without_photos(dataset, folder, seed=seed, device=device, say=say, quiet=quiet)
    say("auditing the data and the item codes")
    first = compared.found[WITH]
    audited = audit_system(first.system, dataset, seed=seed, rivals=first.rivals)
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
    ranked, told = ("A-3", "A-3 of 100"), "C-3"

    def value(label: str, prompt: str, metric: str) -> float:
        return next(r.value for r in found[label].results if (r.prompt, r.metric, r.kind) == (prompt, metric, "model"))

    beside = {(r.prompt, r.baseline): r for r in found[WITH].results if r.metric == METRIC and r.group == EVERYONE}
    above = {
        f"{prompt}: above {rival}": (beside[prompt, rival].difference or 0.0) > 0
        for prompt in ranked
        for rival in RIVALS
    }
    photos = {
        f"{prompt}: with photos above without": value(WITH, prompt, METRIC) > value(WITHOUT, prompt, METRIC)
        for prompt in ranked
    }
    sentences = value(WITH, told, "ROUGE-L") > value(WITHOUT, told, "ROUGE-L") - _AS_GOOD
    return above | photos | {f"{told}: with photos as good as without": sentences}
