"""Options that the benchmarks share, and how they print what they measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vip5.cli.options import print_json, print_table, writable

if TYPE_CHECKING:
    from vip5.bench.measure import Bench

DatasetOption = Annotated[
    Path | None, typer.Argument(help="Dataset folder; a generated shop of 600 users when not given.")
]
Tokenizer = Annotated[
    str | None, typer.Option(help="Folder with tokenizer.json, T5's say; trained on the data when not given.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; as many as there are cores when not given.")]
Rounds = Annotated[int, typer.Option(min=1, help="Times each method is measured; they take turns.")]
Quick = Annotated[bool, typer.Option("--quick", help="Small sizes and few rounds: done within a minute.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", callback=writable, help="Write the JSON to this file as well.")
]


def show(result: "Bench", out: Path | None, as_json: bool) -> None:
    """Print what was measured, and store it where a file is named."""
    if out is not None:
        result.save(out)
    if as_json:
        print_json(result.model_dump())
        return
    columns = ["method", "per second", "slowest – fastest round", "of the floor", "peak MiB", "beyond loading"]
    rows = [
        [
            row.method,
            f"{row.median:,.4g} {row.unit}",
            f"{row.low:,.4g} – {row.high:,.4g}",
            None if row.reached is None else f"{row.reached:.0%}",
            None if row.peak_mib is None else f"{row.peak_mib:,.0f}",
            None if row.beyond_mib is None else f"{row.beyond_mib:,.0f}",
        ]
        for row in result.rows
    ]
    about = f"{result.machine.cpu}, {result.machine.device}, {result.threads} threads"
    print_table(f"{result.bench}: {about}", columns, rows, "\n".join(result.notes) or None)
    print_table("sizes", ["what", ""], [[name, value] for name, value in result.sizes.items()])
    checks = [[name, f"{value:.3g}" if isinstance(value, float) else value] for name, value in result.checks.items()]
    print_table("ratios and checks", ["what", ""], [[n, f"{v:.3g}"] for n, v in result.ratios.items()] + checks)
