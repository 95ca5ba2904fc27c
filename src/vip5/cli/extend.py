"""`vip5 extend`: a run takes in what came since, without training."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Json, print_json, print_table


def register(app: typer.Typer) -> None:
    app.command("extend")(extend)


def extend(
    run: Annotated[Path, typer.Argument(help="Run folder of a model.")],
    dataset: Annotated[Path, typer.Argument(help="Dataset folder of the shop as it is now, with the same vectors.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")] = ...,  # type: ignore[assignment]
    as_json: Json = False,
) -> None:
    """Take in the items and people that came since a run was trained, without training.

    A new item is what its vectors say (modalities with row=true), and what was learnt of the others stays. The counts
    of the score, such as transitions, are those of the new data.

    Example: vip5 extend runs/shop data/shop-today --out runs/shop-today
    """
    from vip5.data import Dataset
    from vip5.predict import TrainedModel
    from vip5.runs import run_folder
    from vip5.training.extend import extend as run_extension

    with run_folder(out):
        data = Dataset(dataset)
        known = TrainedModel.load(run).catalogue
        run_extension(run, data).finish(out)
    new_items = data.items["item"].is_in(known.items["item"].to_list()).not_().sum()
    new_people = data.users["user"].is_in(known.users["user"].to_list()).not_().sum()
    about = {"run": str(out), "items": data.n_items, "new_items": new_items, "new_people": new_people}
    if as_json:
        print_json(about)
    else:
        print_table(f"Extended {run}", ["", ""], [[name.replace("_", " "), value] for name, value in about.items()])
