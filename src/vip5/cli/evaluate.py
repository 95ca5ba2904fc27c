"""`vip5 evaluate`: a run against the held-out part of its data set."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Device, Seed, print_table


def register(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    prompts: Annotated[str, typer.Option(help="Ids of prompts, with commas between.")] = "A-3,A-9,B-5,B-8,C-3,C-12",
    beams: Annotated[int, typer.Option(min=1, help="Beams for items.")] = 20,
    text_beams: Annotated[int, typer.Option(min=1, help="Beams for sentences; 1 is greedy.")] = 1,
    dataset: Annotated[Path | None, typer.Option(help="Dataset folder, where it has moved.")] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write every number to this file; - prints them.")
    ] = None,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Print next-item, one-of-100 and explanation metrics with 95 % intervals, beside the simplest baseline.

    Each user's ranks are left in RUN/ranks.parquet for paired comparisons.

    Example: vip5 evaluate runs/quickstart/with-photos --prompts A-3,B-5 --json results.json
    """
    from rich.console import Console

    from vip5.evaluation.evaluate import evaluate as score
    from vip5.evaluation.results import Results, caption, table
    from vip5.training import Run, best_device

    device = best_device(device)
    opened = Run.load(run, dataset, device)
    found = score(opened, [p.strip() for p in prompts.split(",") if p.strip()], beams, text_beams, seed)
    found.save_ranks(run / "ranks.parquet", opened.dataset)
    notes = Console(stderr=True, highlight=False)
    for reason in found.left_out:
        notes.print(f"left out {reason}", style="yellow")
    results = Results.record(
        found.results,
        shlex.join(["vip5", *sys.argv[1:]]),
        device,
        {"beams": beams, "text_beams": text_beams, "history_excluded": True},
    )
    if json_file == "-":
        print(results.model_dump_json(indent=2))
    else:
        if json_file:
            results.save(json_file)
        if found.results:
            columns, rows = table(found.results)
            print_table(f"{run} on {opened.dataset.manifest.name}", columns, rows, caption(found.results))
