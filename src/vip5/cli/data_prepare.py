"""`vip5 data prepare`: from tables and photos to a dataset folder."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from vip5.cli.options import Json, Seed, print_json, print_table

Out = Annotated[Path, typer.Argument(help="Dataset folder to write.")]
Explanations = Annotated[
    Path | None, typer.Option(help="Table: user, item, explanation, feature; in place of the reviews' explanations.")
]
Images = Annotated[Path | None, typer.Option(help="Folder of photos; none outside it is read.")]
KCore = Annotated[int | None, typer.Option(min=1, help="Keep users and items with at least this many interactions.")]
SplitOption = Annotated[
    Literal["leave-one-out", "time"],
    typer.Option(help="Held out: the last two interactions of each user, or what lies after one point in time."),
]
Holdout = Annotated[
    float | None,
    typer.Option(help="With --split time: share of the interactions for the test, and as much for validation. [0.1]"),
]
ReviewSplitOption = Annotated[
    Literal["by-time", "by-pair", "random"],
    typer.Option(
        help="How explanations are split: as the interactions; 8:1:1 at random, but pairs that are held out as the "
        "interactions; or 8:1:1 whatever is held out (the paper's, leaky)."
    ),
]
Candidates = Annotated[int, typer.Option(min=1, help="Negatives beside the test item in each stored list.")]
CandidatesByOption = Annotated[
    Literal["uniform", "popularity"],
    typer.Option(help="How negatives are drawn: all alike, or by how often training has them."),
]
CandidateLists = Annotated[int, typer.Option(min=1, help="Lists of negatives, drawn independently.")]
Name = Annotated[str | None, typer.Option(help="Name of the data; the folder's when not given.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a dataset that is there, its features too.")]


def register(app: typer.Typer) -> None:
    app.command("prepare")(prepare)


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
    images: Images = None,
    k_core: KCore = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="THEIRS=OURS", help="A column by another name, as customer=user. Repeatable."),
    ] = None,
    split: SplitOption = "leave-one-out",
    holdout: Holdout = None,
    review_split: ReviewSplitOption = "by-time",
    candidates: Candidates = 99,
    candidates_by: CandidatesByOption = "uniform",
    candidate_lists: CandidateLists = 1,
    name: Name = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make a dataset folder from tables (csv, tsv, also .gz, or Parquet) and photos.

    Columns are found by their usual names (user_id, asin, unixReviewTime, …). The order within a user is by timestamp,
    then position, then as in the file. Without a column of explanations, the first sentence of each review's text is
    one. The folder is written whole or not at all.

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
        images=images,
        mapping=parse_mapping(mapping or []),
        k_core=k_core,
        split=split,
        holdout=holdout,
        review_split=review_split,
        candidates=candidates,
        candidates_by=candidates_by,
        candidate_lists=candidate_lists,
        seed=seed,
        name=name,
        overwrite=overwrite,
        progress=not json,
        report=report,
    )
    show(dataset, json)


def report(line: str) -> None:
    """Say on standard error what was left out."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"note: {line}")


def show(dataset: Any, json: bool) -> None:
    """What is in the dataset that was just written."""
    manifest = dataset.manifest
    if json:
        print_json(manifest.model_dump())
    else:
        rows = [[name.replace("_", " "), f"{count:,}"] for name, count in manifest.counts.items()]
        print_table(
            f"Dataset {dataset.path}", ["what", "number"], rows, f"{manifest.protocol}, hash {dataset.hash[:12]}"
        )
