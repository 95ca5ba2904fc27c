"""Options that mean the same in every command, and how a command prints its result."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random in this command.")]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps…; the best one at hand when not given.")
]
Int8 = Annotated[
    bool, typer.Option("--int8", help="Compute in 8-bit integers on a CPU: faster, scores a little coarser.")
]


def print_json(value: Any) -> None:
    """Print `value` as one JSON object on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def print_table(title: str, columns: list[str], rows: list[list[Any]], note: str | None = None) -> None:
    """Print a table people can read: first column left, the others right-aligned."""
    table = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        caption=note and escape(note),
        caption_justify="left",
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*["" if cell is None else escape(str(cell)) for cell in row])
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)
