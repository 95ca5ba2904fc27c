"""`vip5 quickstart`: the main job, end to end, on a generated shop."""

from pathlib import Path
from typing import Annotated

import typer

from vip5.cli.options import Device, Json, Seed, print_json, print_table


def register(app: typer.Typer) -> None:
    app.command("quickstart")(quickstart)


def quickstart(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is made.")] = Path(
        "runs/quickstart"
    ),
    seed: Seed = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Generate a shop, train a VIP5 on it with and without photos, evaluate both, and write a report.

    Takes a few minutes on two CPU cores; stopped, it goes on where it was. Exit code 1 where the model is not above
    popularity, or not better with photos.

    Example: vip5 quickstart --out runs/quickstart --seed 0
    """
    import time

    from rich.console import Console

    from vip5.evaluation.tables import ACCURACY, caption, table
    from vip5.reproduce.quickstart import quickstart as run
    from vip5.training import best_device

    console, started = Console(stderr=True, highlight=False), time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.0f} s[/dim]  {line}")

    done = run(out, seed, best_device(device), say, as_json, f"vip5 quickstart --out {out} --seed {seed}")
    if as_json:
        print_json(done.results.model_dump())
    else:
        own = [r for r in done.results.results if r.difference is None or r.baseline != "VIP5 without photos"]
        columns, rows = table(own, [ACCURACY])
        print_table("VIP5 on a generated shop", columns, rows, caption(own, done.results.audit, done.results.notes))
        typer.echo(f"numbers: {done.results_file}\nreport:  {done.report_file}")
        typer.echo(f"try:     vip5 recommend {done.run} --user {_someone(out)}")
    broken = [promise for promise, kept in done.promises.items() if not kept]
    if broken:
        console.print(f"not reached in this run: {'; '.join(broken)}", style="red")
        raise typer.Exit(1)


def _someone(out: Path) -> str:
    from vip5.data import Dataset

    return Dataset(out / "dataset").users["user"][0]
