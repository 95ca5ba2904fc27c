"""`vip5 train`: from a dataset folder to a run folder."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vip5.cli.options import Device, Json, Recipe, Size, print_json, print_table, report

if TYPE_CHECKING:
    from vip5.training import RunConfig


def register(app: typer.Typer) -> None:
    # What looks like an option and is none reaches the settings, which know how it is called there.
    app.command("train", context_settings={"ignore_unknown_options": True})(train)


def train(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings over the recipe, as in optim.epochs=3 codes.scheme=atomic.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Run folder; one with an unfinished run is gone on with.")
    ] = ...,  # type: ignore[assignment]
    recipe: Recipe = "best",
    size: Size = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings over the recipe.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random; the same as seed=N.")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Train a VIP5. Stopped or killed, the same command goes on exactly where it was.

    Example: vip5 train data/beauty --out runs/beauty codes.scheme=atomic optim.epochs=20

    On several GPUs, or CPU processes: torchrun --nproc-per-node 4 -m vip5 train data/beauty --out runs/beauty
    """
    from vip5.training import load_config

    given = [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    train_run(lambda: load_config(recipe, config, given, size), dataset, out, device, as_json)


def train_run(
    configure: Callable[[], "RunConfig"], dataset: Path, out: Path, device: str | None, as_json: bool
) -> None:
    """Train what is configured, alone or as one of torchrun's processes, and print a summary."""
    from vip5.data import Dataset
    from vip5.modalities.builtin import make_built_in
    from vip5.runs import run_folder
    from vip5.training import EVERY, Run, best_device, together
    from vip5.training import train as run_training

    with together() as processes:
        settings, data, device = configure(), Dataset(dataset), best_device(device)
        with run_folder(out) if processes.first else nullcontext():
            pass  # that nothing can be trained there is found before the work
        made = make_built_in(data, progress=True) if EVERY in settings.modalities and processes.first else {}
        processes.wait()
        run = Run.new(settings, data)
        if made:
            report(f"made vectors of the items: {', '.join(made)} (others: vip5 data encode)")
        summary = run_training(run, out, device, quiet=as_json, processes=processes, report=report)
    if not processes.first:
        return
    summary = {"vectors": ", ".join(run.stores) or "none", **summary}
    if as_json:
        print_json({"run": str(out), **summary})
    else:
        print_table(f"Trained {out}", ["", ""], [[key, value] for key, value in summary.items()])
