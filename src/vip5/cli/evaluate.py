"""`vip5 evaluate`: a run against the held-out part of its data set."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vip5.cli.options import Device, Int8, Seed, print_table


def register(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    prompts: Annotated[str, typer.Option(help="Ids of prompts, with commas between.")] = "A-3,A-9,B-5,B-8,C-3,C-12",
    decode: Annotated[
        Literal["beam", "exact", "free"],
        typer.Option(
            help="How items are found: by beam search over the items' codes, by a search that loses none of the "
            "best, or by writing freely, where a code may be of no item."
        ),
    ] = "beam",
    beams: Annotated[int, typer.Option(min=1, help="Beams for items; with exact, the number of items listed.")] = 20,
    text_beams: Annotated[int, typer.Option(min=1, help="Beams for sentences; 1 is greedy.")] = 1,
    cutoffs: Annotated[str, typer.Option(help="The k of HR@k, NDCG@k and MRR@k, with commas between.")] = "1,5,10",
    users: Annotated[int | None, typer.Option(min=1, help="Test at most so many users, spread evenly.")] = None,
    dataset: Annotated[Path | None, typer.Option(help="Dataset folder, where it has moved.")] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write every number to this file; - prints them.")
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    int8: Int8 = False,
) -> None:
    """Print next-item, one-of-100 and explanation metrics with 95 % intervals, beside the simplest baseline, rules that
    need no training, and what an audit finds of the data and the item codes.

    Leaves a model card, RUN/README.md, and every user's ranks and sentences for `vip5 compare`.

    Example: vip5 evaluate runs/quickstart/with-photos --prompts A-3,B-5 --json results.json
    """
    from rich.console import Console

    from vip5.audit.audit import audit_run
    from vip5.baselines.run import BaselineRun, is_baseline
    from vip5.errors import UserError
    from vip5.evaluation.baseline import audit_baseline, evaluate_baseline, write_baseline_card
    from vip5.evaluation.card import write_card
    from vip5.evaluation.evaluate import Settings
    from vip5.evaluation.evaluate import evaluate as score
    from vip5.evaluation.results import Results
    from vip5.evaluation.tables import caption, table
    from vip5.training import Run, best_device

    device = "cpu" if int8 and device is None else best_device(device)
    settings = Settings(beams, text_beams, decode, _numbers(cutoffs), users, seed, progress=json_file != "-")
    names = [p.strip() for p in prompts.split(",") if p.strip()]
    opened: Run | BaselineRun
    if is_baseline(run):
        if int8 or decode != "beam":
            raise UserError("--int8 and --decode are of models, and this is the run of a baseline: leave them out")
        opened = BaselineRun.load(run, dataset, device)
        found = evaluate_baseline(opened, names, settings)
    else:
        opened = Run.load(run, dataset, device, int8)
        found = score(opened, names, settings)
    found.save(run)
    notes = Console(stderr=True, highlight=False)
    for reason in found.left_out:
        notes.print(f"left out {reason}", style="yellow")
    decoding: dict[str, Any] = {"beams": beams, "history_excluded": decode != "free"}
    if isinstance(opened, Run):
        audited = audit_run(opened, users, seed)
        decoding |= {"decode": decode, "text_beams": text_beams, "int8": int8}
    else:
        audited = audit_baseline(opened, users, seed)
    results = Results.record(
        [*found.results, *audited.results(found.results)],
        shlex.join(["vip5", *sys.argv[1:]]),
        device,
        decoding,
        audited.summary(),
    )
    if isinstance(opened, Run):
        write_card(run, opened, results)
    else:
        write_baseline_card(run, opened, results)
    if json_file == "-":
        print(results.model_dump_json(indent=2))
    else:
        if json_file:
            results.save(json_file)
        if found.results:
            columns, rows = table(results.results)
            print_table(
                f"{run} on {opened.dataset.manifest.name}", columns, rows, caption(results.results, results.audit)
            )


def _numbers(text: str) -> tuple[int, ...]:
    from vip5.errors import UserError

    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise UserError(f"--cutoffs {text} are not whole numbers: write, for example, --cutoffs 5,10") from None
