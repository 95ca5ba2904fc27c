"""`vip5 evaluate`: a run against the held-out part of its data set."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vip5.cli.options import Device, Int8, flat, print_table, writable
from vip5.evaluation.options import EvaluateOptions

if TYPE_CHECKING:
    from vip5.data import Dataset
    from vip5.evaluation.results import Results
    from vip5.predict.system import System


def register(app: typer.Typer) -> None:
    app.command("evaluate")(flat(evaluate, cutoffs="--cutoff", allow_again="--allow-again/--no-again"))


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    prompts: Annotated[str, typer.Option(help="Ids of prompts, with commas between.")] = "A-3,A-9,B-5,B-8,C-3,C-12",
    dataset: Annotated[Path | None, typer.Option(help="Dataset folder, where it has moved.")] = None,
    json_file: Annotated[
        str | None,
        typer.Option(
            "--json", metavar="FILE", callback=writable, help="Write every number to this file; - prints them."
        ),
    ] = None,
    device: Device = None,
    int8: Int8 = False,
    *,
    options: EvaluateOptions,
) -> None:
    """Print next-item, one-of-100 and explanation metrics with 95 % intervals, beside the simplest baseline, rules that
    need no training, and what an audit finds of the data and the item codes.

    Leaves in the run folder its card (README.md), every number (results.json, for `vip5 report`), and every user's
    ranks and sentences for `vip5 compare`.

    Example: vip5 evaluate runs/quickstart/with-photos --prompts A-3,B-5 --json results.json
    """
    from vip5.evaluation.opened import open_on_dataset
    from vip5.evaluation.tables import caption, table
    from vip5.runs import finished_run
    from vip5.training import best_device

    device = "cpu" if int8 and device is None else best_device(device)
    system, data = open_on_dataset(run, dataset, device, int8)
    names = [name.strip() for name in prompts.split(",") if name.strip()]
    with finished_run(run):
        results = _evaluated(run, system, data, names, options, {"device": device, "int8": int8}, json_file != "-")
    if json_file == "-":
        print(results.model_dump_json(indent=2))
    else:
        if json_file:
            results.save(json_file)
        if results.results:
            columns, rows = table(results.results)
            note = caption(results.results, results.audit, results.notes)
            print_table(f"{run} on {data.manifest.name}", columns, rows, note)


def _evaluated(
    run: Path,
    system: "System",
    data: "Dataset",
    prompts: list[str],
    options: EvaluateOptions,
    how: dict[str, Any],
    progress: bool,
) -> "Results":
    """Score and audit a system, and write what its run folder keeps of that, together or not at all."""
    from rich.console import Console

    from vip5.audit.audit import audit_system
    from vip5.evaluation.card import write_card
    from vip5.evaluation.evaluate import evaluate as score
    from vip5.evaluation.results import RESULTS, Results
    from vip5.evaluation.stored import ABOUT_FILE
    from vip5.files import written_together

    found = score(system, data, prompts, options, progress=progress)
    notes = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    for reason in found.left_out:
        notes.print(f"left out {reason}", style="yellow")
    audited = audit_system(system, data, options.users, options.seed, found.rivals)
    decoding = options.model_dump(include={"decode", "beams", "text_beams"})
    results = Results.record(
        [*found.results, *audited.results(found.results)],
        shlex.join(["vip5", *sys.argv[1:]]),
        how["device"],
        decoding | {"history_excluded": not found.again, "int8": how["int8"]},
        audited.summary(),
        found.notes,
    )
    with written_together(run, ABOUT_FILE) as aside:
        found.save(aside)
        write_card(aside, system, data, results)
        results.save(aside / RESULTS)
    return results
