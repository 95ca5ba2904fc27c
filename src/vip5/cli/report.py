"""`vip5 report`: a page about an evaluated run."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Device, Json, print_json, writable


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    run: Annotated[Path, typer.Argument(help="Folder of an evaluated run.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", callback=writable, help="HTML file; RUN/report.html when not given.")
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="Dataset folder, where it has moved.")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Write one HTML page that can be passed on: the numbers of the last `vip5 evaluate`, and some users with what they
    had, what is recommended and what they took, as photos where there are some.

    Example: vip5 report runs/shop --out shop.html
    """
    from vip5.evaluation.evaluate import Evaluation
    from vip5.evaluation.opened import open_on_dataset
    from vip5.evaluation.options import EvaluateOptions
    from vip5.evaluation.report import write_report
    from vip5.evaluation.results import RESULTS, Results
    from vip5.evaluation.shown import some_cases
    from vip5.evaluation.stored import load_about
    from vip5.training import best_device

    system, data = open_on_dataset(run, dataset, best_device(device))
    again, results = load_about(run)["again"], Results.load(run / RESULTS)
    evaluation = Evaluation(system, data, EvaluateOptions(allow_again=again))
    page = out or run / "report.html"
    write_report(page, f"{system.name} on {data.manifest.name}", [results], some_cases(evaluation))
    if as_json:
        print_json({"report": str(page)})
    else:
        typer.echo(f"report: {page}")
