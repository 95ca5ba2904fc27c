"""`vip5 data demo`: a small made-up shop as plain files."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Json, Seed, print_json, print_table


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not be there yet, or be empty.")],
    users: Annotated[int, typer.Option(help="Number of users.")] = 600,
    items: Annotated[int, typer.Option(help="Number of items.")] = 400,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a shop that is there already.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make a small shop to try things on: purchases, items, reviews and photos, as plain files.

    Part of what its users like (colour, shape, pattern) is visible in the photos only. The same seed gives the same
    files.

    Example: vip5 data demo shop --users 600 --items 400
    """
    from vip5.demo import write_demo

    counts = write_demo(folder, users, items, seed, overwrite)
    if json:
        print_json({"folder": str(folder), "seed": seed, **counts})
    else:
        print_table(f"A small shop in {folder}", ["what", "number"], [[k, f"{v:,}"] for k, v in counts.items()])
