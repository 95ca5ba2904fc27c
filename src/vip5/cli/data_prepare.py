"""`vip5 data prepare`: from tables and photos to a dataset folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vip5.cli.options import Json, flat, print_json, print_table, report
from vip5.data.options import PrepareOptions

Out = Annotated[Path, typer.Argument(help="Dataset folder to write.")]
Explanations = Annotated[
    Path | None, typer.Option(help="Table: user, item, explanation, feature; in place of the reviews' explanations.")
]


def register(app: typer.Typer) -> None:
    app.command("prepare")(flat(prepare))


def prepare(
    out: Out,
    interactions: Annotated[
        Path | None,
        typer.Option(help="Table: user, item, any of timestamp, position, rating. Without it each review is one."),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(help="Table: item, any of title, brand, categories, description, image, paper_id."),
    ] = None,
    reviews: Annotated[
        Path | None,
        typer.Option(
            help="Table: user, item, any of rating, headline, text, feature, explanation, timestamp, user_name."
        ),
    ] = None,
    explanations: Explanations = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="THEIRS=OURS", help="A column by another name, as customer=user. Repeatable."),
    ] = None,
    *,
    options: PrepareOptions,
    json: Json = False,
) -> None:
    """Make a dataset folder from tables (csv, tsv, also .gz, or Parquet) and photos.

    Columns are found by their usual names (user_id, asin, unixReviewTime, …). The order within a user is by timestamp,
    then position; what ties in both is put in an order that --seed draws. Times are seconds, milli-, micro- or
    nanoseconds, dates, or a column of dates and one of times of day. Without a column of explanations, the first
    sentence of each review's text is one. The folder is written whole or not at all.

    Example: vip5 data prepare data/shop --interactions buys.csv --items items.csv --images photos --k-core 5
    """
    from vip5.data import prepare as prepare_data
    from vip5.data.schema import parse_mapping

    dataset = prepare_data(
        out,
        interactions=interactions,
        items=items,
        reviews=reviews,
        explanations=explanations,
        mapping=parse_mapping(mapping or []),
        progress=not json,
        report=report,
        **dict(options),
    )
    show(dataset, json)


def show(dataset: Any, json: bool) -> None:
    """What is in the dataset that was just written."""
    from vip5.data.statistics import filled, filled_rows

    manifest = dataset.manifest
    if json:
        print_json(manifest.model_dump() | {"filled": filled(dataset)})
    else:
        rows = [[name.replace("_", " "), f"{count:,}"] for name, count in manifest.counts.items()]
        rows += filled_rows(dataset)
        print_table(
            f"Dataset {dataset.path}", ["what", "value"], rows, f"{manifest.protocol}, hash {dataset.hash[:12]}"
        )
