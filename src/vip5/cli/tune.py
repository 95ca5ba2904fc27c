"""`vip5 tune`: the best setting of a baseline or of VIP5, by the validation part."""

import shlex
import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vip5.cli.options import Device, Json, RecipeName, print_json, print_table

if TYPE_CHECKING:
    from vip5.data import Dataset
    from vip5.search.tuned import TunedModel

_SHOWN = 10  # trials in the table


def register(app: typer.Typer) -> None:
    app.command("tune")(tune)


def tune(
    name: Annotated[str, typer.Argument(help="vip5, or a baseline: item-knn, sasrec…; a wrong name lists all.")],
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings that no trial changes, as in loss=ce.", metavar="[KEY=VALUE]…")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the search; one that is there goes on.")] = ...,  # type: ignore[assignment]
    trials: Annotated[int | None, typer.Option(min=1, help="Trials, over all calls.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Minutes of training, over all calls.")] = None,
    recipe: Annotated[RecipeName | None, typer.Option(help="Of vip5 alone; best when not given.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings that no trial changes.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the search and of each training.")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Search the best setting, on the validation part alone. Stopped or killed, the same command goes on.

    The first trial is the defaults. best.toml in the folder is for --config of vip5 baseline and vip5 train.

    Example: vip5 tune sasrec data/beauty --out tuned/sasrec --trials 20 --minutes 60
    """
    from vip5.baselines.registry import baseline
    from vip5.data import Dataset
    from vip5.errors import UserError
    from vip5.search.search import BEST
    from vip5.search.search import tune as search
    from vip5.search.tuned import Tuned, TunedBaseline
    from vip5.training import best_device
    from vip5.training.config import read_settings

    given = read_settings(config, [*(overrides or []), *([] if seed is None else [f"seed={seed}"])])
    tuned: Tuned
    if name == "vip5":
        tuned = _model(recipe or "best", Dataset(dataset), given, best_device(device), quiet=as_json)
    elif recipe is not None:
        raise UserError(f"--recipe is of vip5, not of {name}: give settings as KEY=VALUE")
    else:
        tuned = TunedBaseline(baseline(name), Dataset(dataset), given, best_device(device))
    found = search(tuned, out, trials, minutes, shlex.join(["vip5", *sys.argv[1:]]), quiet=as_json)
    if as_json:
        print_json(found)
        return
    rows = sorted(found["trials"], key=lambda row: -inf if row["value"] is None else row["value"], reverse=True)
    shown = [
        [
            row["trial"],
            row["state"],
            None if row["value"] is None else _short(row["value"]),
            f"{row['best_epoch']} of {row['epochs']}" if row["epochs"] else "",
            f"{row['minutes']:.2f}",
            " ".join(f"{key}={_short(value)}" for key, value in row["settings"].items()),
        ]
        for row in rows[:_SHOWN]
    ]
    counted = ", ".join(f"{found[state]} {state}" for state in ("done", "pruned", "failed", "unfinished"))
    note = f"{counted}; {found['minutes']:.1f} minutes. "
    note += f"Best: --config {out / BEST}" if found["best"] else f"No trial gave a number: {rows[0].get('why')}"
    columns = ["trial", "", f"validation {found['goal']}", "best epoch", "minutes", "settings"]
    print_table(f"Tuned {name} on {dataset}", columns, shown, note)


def _model(recipe: str, dataset: "Dataset", given: dict[str, Any], device: str, quiet: bool) -> "TunedModel":
    """VIP5 as `vip5 train` would train it, with the vectors that the data set can have by itself."""
    from vip5.modalities.builtin import make_built_in
    from vip5.search.tuned import TunedModel
    from vip5.training.config import EVERY, configure

    if EVERY in configure(recipe, given, "fixed settings").modalities:
        make_built_in(dataset, progress=not quiet)
    return TunedModel(recipe, dataset, given, device)


def _short(value: object) -> str:
    """As it is typed, but for digits."""
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value).replace(" ", "")
