"""`vip5 data audit`: what a data set and its item codes give away."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vip5.cli.options import Json, Seed, print_json, print_table

LEAKY = 3  # exit code


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)


def audit(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    codes: Annotated[
        str,
        typer.Option(help="A code scheme, as in codes.scheme, or a table of codes, as a run folder's codes.parquet."),
    ] = "sequential",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Try rules that need no training, and look for leaks of the held-out part.

    Exit code 0 when clean, 3 when leaky, 2 for what you can mend.

    Example: vip5 data audit data/beauty --codes runs/beauty/codes.parquet
    """
    from vip5.audit.audit import audit as look
    from vip5.audit.audit import codes_of
    from vip5.data import Dataset

    opened = Dataset(dataset)
    words, refit = codes_of(codes, opened)
    found = look(opened, words, refit, name=codes, seed=seed)
    if json:
        print_json(found.as_dict())
    else:
        show(found)
    if found.leaky:
        raise typer.Exit(LEAKY)


def show(found: Any) -> None:
    """The rules of each task, the checks and the verdict."""
    for task in dict.fromkeys(row.task for row in found.rows):
        rows = [row for row in found.rows if row.task == task]
        cells = [
            [row.rule, *(f"{e.value:.4f} ± {(e.high - e.low) / 2:.4f}" for e in row.metrics.values())] for row in rows
        ]
        n = next(iter(rows[0].metrics.values())).n
        note = f"{n:,} users, codes {found.codes}; ± half a 95 % interval, 10,000 resamples"
        print_table(f"{task.capitalize()}, no training ({found.dataset})", ["rule", *rows[0].metrics], cells, note)
    checks = [[f"{finding.name}: {finding.words}", finding.status] for finding in found.findings]
    print_table(f"Checks ({found.dataset})", ["check", "status"], checks)
    print(f"verdict: {found.verdict}")
    for reason in found.reasons:
        print(f"  because {reason}")
