"""What photos are worth: the same model trained with them and without, side by side, and the paired difference."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from vip5.data import Dataset
from vip5.evaluation.evaluate import PROMPTS, Evaluation, evaluate
from vip5.evaluation.intervals import estimate, paired_difference
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.results import Result
from vip5.evaluation.verdict import RIVALS
from vip5.predict.answers import ModelSystem
from vip5.predict.model import TrainedModel
from vip5.runs import METRICS_FILE
from vip5.training import Run, load_config, train

WITH, WITHOUT = "VIP5", "VIP5 without photos"
FOLDERS = {WITH: "with-photos", WITHOUT: "without-photos"}


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
    own = {WITH: overrides, WITHOUT: [*overrides, "modalities.photo=none"]}
    missing = [label for label, out in folders.items() if not (out / "run.json").is_file()]
    workers = max(1, min(len(missing), os.cpu_count() or 1))
    columns = (TextColumn("{task.description}"), TimeElapsedColumn(), TextColumn("{task.fields[at]}"))
    progress = Progress(*columns, console=Console(stderr=True), disable=quiet)
    with progress, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = {
            pool.submit(_train_one, dataset.path, folders[label], own[label], device): (
                folders[label],
                progress.add_task(label, total=None, at=""),
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
                    progress.update(bar, at=f"epoch {line['epoch']}  loss {line['loss']:.2f}")


def _train_one(dataset: Path, out: Path, overrides: list[str], device: str) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    train(Run.new(load_config("best", None, overrides), Dataset(dataset)), out, device, quiet=True)


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
    """The second model's own numbers, without the baselines that already stand beside the first's."""
    alone, results = {"baseline", "difference", "p"}, [r for r in results if r.baseline not in RIVALS[1:]]
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
