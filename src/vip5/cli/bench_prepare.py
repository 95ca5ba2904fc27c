"""`vip5 bench prepare`: interactions a second and peak memory from a table to a dataset folder."""

from typing import Annotated

import typer

from vip5.cli.bench_options import Out, Quick, Threads, show
from vip5.cli.options import Json


def register(app: typer.Typer) -> None:
    app.command("prepare")(prepare)


def prepare(
    interactions: Annotated[int, typer.Option(min=1, help="Rows of the generated table.")] = 5_000_000,
    users: Annotated[int | None, typer.Option(min=1, help="One for 12.5 interactions when not given.")] = None,
    items: Annotated[int | None, typer.Option(min=1, help="One for 50 interactions when not given.")] = None,
    k_core: Annotated[
        int | None, typer.Option(min=1, help="Keep users and items with at least this many interactions.")
    ] = None,
    threads: Threads = None,
    quick: Quick = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Prepare a generated table, and a smaller one beside the plain way in Polars.

    Example: vip5 bench prepare --interactions 50000000 --out prepare.json
    """
    from vip5.bench.prepare import bench_prepare

    interactions = min(interactions, 200_000) if quick else interactions
    show(bench_prepare(interactions, users, items, k_core, threads, quick), out, json)
