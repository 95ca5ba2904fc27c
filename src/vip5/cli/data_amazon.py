"""`vip5 data amazon`: from files of an Amazon release to a dataset folder."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.data_prepare import Explanations, Out, report, show
from vip5.cli.options import Json, flat
from vip5.data.options import DatasetOptions


def register(app: typer.Typer) -> None:
    app.command("amazon")(flat(amazon))


def amazon(
    out: Out,
    reviews: Annotated[
        Path, typer.Option(help="reviews_X_5.json.gz, X_5.json.gz or X.jsonl.gz, as published in 2014, 2018 or 2023.")
    ],
    meta: Annotated[Path | None, typer.Option(help="meta_X.json.gz or meta_X.jsonl.gz of the same release.")] = None,
    explanations: Explanations = None,
    *,
    options: DatasetOptions,
    json: Json = False,
) -> None:
    """Make a dataset folder from an Amazon release of 2014, 2018 or 2023 as published; each review is an interaction.

    Photos are files named by item (B000052YOB.jpg), or as at the end of the address of the item's first photo. In 2023
    an item is a parent_asin, which its variants share.

    Example: vip5 data amazon data/beauty --reviews reviews_Beauty_5.json.gz --meta meta_Beauty.json.gz
    """
    from vip5.data import prepare_amazon

    dataset = prepare_amazon(
        out,
        reviews=reviews,
        meta=meta,
        explanations=explanations,
        progress=not json,
        report=report,
        **dict(options),
    )
    show(dataset, json)
