"""A table as it was read, which knows the file and the row of everything it holds."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from vip5.errors import UserError

Clock = Literal["numbers", "time"]  # plain numbers, such as counters; or seconds since 1970


@dataclass(frozen=True)
class Table:
    """A table with our column names and types; the column `row` says where in the file each record stands.

    `names` are all the columns that the file has, and `spelled` our columns that it has, as it spells them. `unit` is
    what `row` counts. Row 1 of a csv is its header, as a spreadsheet shows it. `clock` says what its timestamps are.
    """

    frame: pl.DataFrame
    file: Path
    names: tuple[str, ...]
    unit: str = "row"
    spelled: Mapping[str, str] = field(default_factory=dict)
    clock: Clock | None = None

    @property
    def unused(self) -> list[str]:
        """The file's columns that are none of ours, as the file spells them."""
        left = Counter(self.names) - Counter(self.spelled.values())
        return [name.strip() or "one without a name" for name in left.elements()]

    @property
    def empty(self) -> pl.DataFrame:
        """The rows that have none of our columns."""
        return self.frame.filter(pl.all_horizontal(pl.exclude("row").is_null()))

    def at(self, row: int) -> str:
        """A place in the file, for messages."""
        return f"{self.file}, {self.unit} {row}"

    def refuse(self, bad: pl.Expr | pl.Series, problem: str, remedy: str) -> None:
        """UserError at the first row where `bad` holds; `problem` may name columns in braces."""
        rows = self.frame.filter(bad)
        if rows.height:
            more = f", and {rows.height - 1} more" if rows.height > 1 else ""
            first = rows.row(0, named=True)
            raise UserError(f"{problem.format_map(first)} ({self.at(first['row'])}{more}): {remedy}")
