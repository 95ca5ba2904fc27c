"""What photos are worth: the same model trained with them and without, side by side, and the paired difference."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from vip5.data import Dataset
from vip5.evaluation.evaluate import PROMPTS, Evaluation, evaluate, validation_score
from vip5.evaluation.intervals import estimate, paired_difference
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.results import Result
from vip5.predict.answers import ModelSystem
from vip5.predict.model import TrainedModel
from vip5.runs import METRICS_FILE
from vip5.training import Run, load_config, train

WITH, WITHOUT = "VIP5", "VIP5 without photos"
FOLDERS = {WITH: "with-photos", WITHOUT: "without-photos"}
# One token an item: it can start as what the item's photo shows, and a small shop has few of them.
CODES = "codes.scheme=atomic"


@dataclass(frozen=True)
class PhotoComparison:
    """What two runs score; `numbers` are all results, with the paired difference of each ranking metric."""

    found: dict[str, Evaluation]
    numbers: list[Result]


def with_and_without_photos(
    dataset: Dataset,
    folder: Path,
    overrides: Sequence[str] = (),
    prompts: Sequence[str] = PROMPTS,
    seed: int = 0,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
    quiet: bool = False,
    options: EvaluateOptions | None = None,
) -> PhotoComparison:
    """Train both models of recipe best in `folder` (or go on with them), and evaluate them on the test part."""
    folders = {label: folder / name for label, name in FOLDERS.items()}
    say("training with photos and without (recipe best, size nano, from scratch)")
    _train_both(folders, dataset, [*overrides, f"seed={seed}"], device, quiet)
    found = {}
    for label, out in folders.items():
        say(f"evaluating {label}")
        system = ModelSystem(TrainedModel.load(out, device), label)
        found[label] = evaluate(system, dataset, prompts, options or EvaluateOptions(seed=seed))
        found[label].save(out)
    numbers = [*found[WITH].results, *_beside(found[WITHOUT].results), *_gains(found, seed)]
    return PhotoComparison(found, numbers)


def _train_both(folders: dict[str, Path], dataset: Dataset, overrides: list[str], device: str, quiet: bool) -> None:
    """Train what is not trained yet, side by side with a thread each: two small models fill two cores better so."""
    own = {WITH: [CODES, *overrides], WITHOUT: [CODES, *overrides, "modalities.photo=none"]}
    missing = [label for label, out in folders.items() if not (out / "run.json").is_file()]
    workers = max(1, min(len(missing), os.cpu_count() or 1))
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[loss]}"))
    progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=quiet)
    with progress, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = {
            pool.submit(_train_one, dataset.path, folders[label], own[label], device): (
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
                if line := _last_step(out / METRICS_FILE):
                    progress.update(bar, completed=line["progress"], loss=f"loss {line['loss']:.2f}")


def _train_one(dataset: Path, out: Path, overrides: list[str], device: str) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    config = load_config("best", None, overrides)
    opened = Dataset(dataset)
    score = partial(validation_score, dataset=opened, users=config.run.validate_users)
    train(Run.new(config, opened), out, device, score, quiet=True)


def _last_step(file: Path) -> dict[str, float] | None:
    """The newest whole line of a step in a metrics file that is being written; validation has lines of its own."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 2000))
            whole = stream.read().split(b"\n")[:-1]
        return next((json.loads(line) for line in reversed(whole) if b'"progress"' in line), None)
    except (OSError, ValueError):
        return None


def _beside(results: list[Result]) -> list[Result]:
    """The second model's own numbers, without the baseline that already stands beside the first's."""
    alone = {"baseline", "difference", "p"}
    return [
        r
        if r.kind == "control"
        else Result.model_validate({k: v for k, v in r.model_dump().items() if k.partition("_")[0] not in alone})
        for r in results
    ]


def _gains(found: dict[str, Evaluation], seed: int) -> list[Result]:
    """With photos against without, on the same users: paired differences."""
    gains = []
    cutoffs = found[WITH].options.cutoffs
    for prompt, (_, ranked) in found[WITH].ranked.items():
        with_photos, without = ranked.accuracy(cutoffs), found[WITHOUT].ranked[prompt][1].accuracy(cutoffs)
        about = next(r for r in found[WITH].results if r.prompt == prompt).model_dump(
            include={"dataset", "data_hash", "protocol", "split", "task", "prompt", "seed"}
        )
        for metric in with_photos:
            gains.append(
                Result.of(
                    estimate(with_photos[metric], seed=seed),
                    estimate(without[metric], seed=seed),
                    paired_difference(with_photos[metric], without[metric], seed=seed),
                    **about,
                    metric=metric,
                    model=WITH,
                    baseline=WITHOUT,
                )
            )
    return gains
