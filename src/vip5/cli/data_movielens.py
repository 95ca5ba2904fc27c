"""`vip5 data movielens`: from the folder of a MovieLens release to a dataset folder."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.data_prepare import Out, report, show
from vip5.cli.options import Json, flat
from vip5.data.options import DatasetOptions


def register(app: typer.Typer) -> None:
    app.command("movielens")(flat(movielens))


def movielens(
    out: Out,
    ratings: Annotated[Path, typer.Option(help="Folder of a release, unpacked: of 100K to 32M.")],
    *,
    options: DatasetOptions,
    json: Json = False,
) -> None:
    """Make a dataset folder from a MovieLens release as published; each rating is an interaction.

    Example: vip5 data movielens data/ml-1m --ratings ml-1m
    """
    from vip5.data import prepare_movielens

    show(prepare_movielens(out, ratings=ratings, progress=not json, report=report, **dict(options)), json)
