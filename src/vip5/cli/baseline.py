"""`vip5 baseline`: a system that models are compared with, from a dataset folder to a run folder."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Device, Json, print_json, print_table
from vip5.cli.train import train_run


def register(app: typer.Typer) -> None:
    app.command("baseline")(baseline)


def baseline(
    name: Annotated[str, typer.Argument(help="popularity, item-knn, sasrec, peter…; a wrong name lists all.")],
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings of the system, as in loss=bce dim=50.", metavar="[KEY=VALUE]…")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Run folder; one with an unfinished run is gone on with.")
    ] = ...,  # type: ignore[assignment]
    config: Annotated[Path | None, typer.Option(help="TOML file with settings, as vip5 tune writes it.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random; the same as seed=N.")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Fit a baseline. It stops when the validation part is found no better; killed, the same command goes on.

    p5 is VIP5 without modalities, trained whole: it takes recipe=NAME and the settings of vip5 train, and its run is
    that of a model.

    Example: vip5 baseline sasrec data/beauty --out runs/sasrec loss=ce
    """
    from vip5.baselines.registry import P5
    from vip5.data import Dataset
    from vip5.predict.baseline import fit_run
    from vip5.training import best_device, p5
    from vip5.training.config import read_settings

    settings = read_settings(config, [*(overrides or []), *([] if seed is None else [f"seed={seed}"])])
    if name == P5:
        return train_run(lambda: p5.p5_config(settings), dataset, out, device, as_json)
    command = shlex.join(["vip5", *sys.argv[1:]])
    run = fit_run(name, Dataset(dataset), out, settings, command, best_device(device), quiet=as_json)
    facts = {"run": str(out), "baseline": name, "source": run.system.source, **run.system.settings.model_dump()}
    if as_json:
        print_json(facts | run.system.summary)
    else:
        print_table(f"Fitted {out}", ["", ""], [[key, value] for key, value in (facts | run.system.summary).items()])
