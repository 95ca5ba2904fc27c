"""`vip5 compare`: which differences between evaluated runs are more than chance."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Json, Seed, print_json, print_table


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of evaluated runs; the first is what others are held to.")
    ],
    prompts: Annotated[
        str | None, typer.Option(help="Ids of prompts, with commas between; all that the runs share when not given.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="HR@k, NDCG@k, MRR@k, BLEU-4, ROUGE-L, with commas between.")
    ] = None,
    join_seeds: Annotated[
        bool, typer.Option("--join-seeds", help="Runs that differ only by their seed are one system.")
    ] = False,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Compare all with all, not only with the first.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 10_000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Print the differences between runs that vip5 evaluate has scored, with intervals and corrected p-values.

    Users are resampled together for all runs; where seeds are joined, they are resampled too.

    Example: vip5 compare runs/quickstart/with-photos runs/quickstart/without-photos --metrics NDCG@10
    """
    from vip5.evaluation.compare import METRICS, note, table
    from vip5.evaluation.compare import compare as run_comparison

    found = run_comparison(
        runs,
        prompts and _names(prompts),
        _names(metrics) if metrics else METRICS,
        join_seeds,
        all_pairs,
        resamples,
        seed,
    )
    if as_json:
        print_json(found.as_dict())
    else:
        title = "All pairs" if all_pairs else f"Differences from {found.systems[0].name}"
        print_table(title, *table(found), note(found))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
