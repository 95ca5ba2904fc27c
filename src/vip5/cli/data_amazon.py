"""`vip5 data amazon`: from files of the 2014 Amazon release to a dataset folder."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.data_prepare import (
    CandidateLists,
    Candidates,
    CandidatesByOption,
    Explanations,
    Holdout,
    Images,
    KCore,
    Name,
    Out,
    Overwrite,
    ReviewSplitOption,
    SplitOption,
    report,
    show,
)
from vip5.cli.options import Json, Seed


def register(app: typer.Typer) -> None:
    app.command("amazon")(amazon)


def amazon(
    out: Out,
    reviews: Annotated[Path, typer.Option(help="reviews_X_5.json.gz (one JSON object a line).")],
    meta: Annotated[Path | None, typer.Option(help="meta_X.json.gz (one Python literal a line).")] = None,
    explanations: Explanations = None,
    images: Images = None,
    k_core: KCore = None,
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
    """Make a dataset folder from the 2014 Amazon release as published; each review is an interaction.

    Photos are files named by asin (B000052YOB.jpg), or as at the end of the item's imUrl.

    Example: vip5 data amazon data/beauty --reviews reviews_Beauty_5.json.gz --meta meta_Beauty.json.gz
    """
    from vip5.data import prepare_amazon

    dataset = prepare_amazon(
        out,
        reviews=reviews,
        meta=meta,
        explanations=explanations,
        images=images,
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
