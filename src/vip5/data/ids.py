"""Ids of people and items: text as it is written, without the white space around it."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

# As Unicode has it, and so Polars; Python's strip takes four characters more.
_WHITE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace() and not 0x1C <= code <= 0x1F)


class Lost(NamedTuple):
    """An id that a table has only as it was before it was read as a number."""

    here: str
    there: str


def as_id(raw: object) -> str:
    """An id as the tables hold it: white space around it does not count."""
    return str(raw).strip(_WHITE)


def row_of(rows: Mapping[str, int], raw: object) -> int | None:
    """The row of an id that somebody gives, by the ids that there are."""
    row = rows.get(str(raw))
    return rows.get(as_id(raw)) if row is None else row


def lost_zeros(ids: pl.Series, known: pl.Series) -> Lost | None:
    """The first of `ids` that is unknown, but would be a known one with other leading zeros, or without a ".0"."""
    here = pl.DataFrame({"here": ids.unique(maintain_order=True).drop_nulls()}).with_columns(bare=_bare("here"))
    there = pl.DataFrame({"there": known.drop_nulls()}).with_columns(bare=_bare("there"))
    unknown = here.join(there, left_on="here", right_on="there", how="anti", maintain_order="left")
    meant = unknown.join(there.unique("bare", keep="first", maintain_order=True), on="bare", maintain_order="left")
    return Lost(*meant.select("here", "there").row(0)) if meant.height else None


def _bare(name: str) -> pl.Expr:
    return pl.col(name).str.replace(r"^(\d+)\.0+$", "$1").str.replace(r"^0+(\d)", "$1")
