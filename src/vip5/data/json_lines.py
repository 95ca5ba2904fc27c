"""JSON lines, an object a line, as Python's json module reads them; or which line breaks."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from vip5.data.packed import unpacked
from vip5.data.schema import match_columns, without_ids
from vip5.data.table import Table
from vip5.errors import UserError

_AT_ONCE = 2**14  # lines
_PARAGRAPHS = ("title", "brand", "description", "headline", "text", "explanation")  # may be lists of texts
_REMEDY = "write one JSON object a line"


def read_json_lines(path: Path, kind: str, mapping: Mapping[str, str] | None) -> Table:
    """The columns that are ours, as text, with numbers as they are written; see `read_table`.

    The file is read twice, first for its columns: a later line may have more. Raises: UserError for the line that
    breaks, and for files that have a command of their own.
    """
    with unpacked(path) as plain:
        names = tuple(dict.fromkeys(name for _, record in _records(path, plain) for name in record))
        if {"reviewerID", "asin"} <= set(names):
            raise UserError(f"{path} is a file of an Amazon release: read it with vip5 data amazon")
        if not names:
            raise UserError(f"the table of {kind} is empty ({path}): give one with rows")
        spelled = {ours: names[i] for ours, i in match_columns(kind, names, mapping, path).items()}
        schema = {"row": pl.UInt32(), **dict.fromkeys(spelled, pl.String())}
        parts, rows = [], _rows(path, plain, kind, spelled)
        while part := list(islice(rows, _AT_ONCE)):
            parts.append(pl.DataFrame(part, schema=schema, orient="row"))
    return Table(pl.concat(parts), path, names, "line", spelled=spelled)


def _rows(path: Path, plain: Path, kind: str, spelled: Mapping[str, str]) -> Iterator[tuple[int | str | None, ...]]:
    """The number of each line that holds an object, and its values."""
    for number, record in _records(path, plain):
        values: list[int | str | None] = [number]
        for ours, theirs in spelled.items():
            try:
                values.append(_text(ours, record.get(theirs)))
            except ValueError as error:
                remedy = "give plain values, and lists for categories and texts alone"
                raise UserError(f"{theirs!r} holds {error} ({path}, line {number}): {remedy}") from None
        if not any(value is not None for value in values[1:]) and any(value is not None for value in record.values()):
            what, remedy = without_ids(kind)
            raise UserError(f"{what} ({path}, line {number}): {remedy}")
        yield tuple(values)


def _text(ours: str, value: Any) -> str | None:
    """A value as a csv has it; ValueError for what none of our columns holds."""
    if isinstance(value, list):
        if ours == "categories":
            return json.dumps(value)
        if ours in _PARAGRAPHS and all(isinstance(part, str) for part in value):
            return _whole(" ".join(value), ours)
    if isinstance(value, list | dict | bool):
        raise ValueError({list: "a list", dict: "an object", bool: "true or false"}[type(value)])
    return None if value is None else _whole(value, ours)


def _whole(text: str, ours: str) -> str:
    """Halves of surrogate pairs, which UTF-8 cannot hold, as "?"; ValueError in ids, which could become one so."""
    try:
        text.encode()
    except UnicodeEncodeError:
        if ours in ("user", "item"):
            raise ValueError("half a character (a lone surrogate)") from None
        return text.encode("utf-8", "replace").decode()
    return text


def _records(path: Path, plain: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects, their numbers as text; empty lines are passed over."""
    with plain.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                record = json.loads(line, parse_int=str, parse_float=str, parse_constant=str) if line.strip() else None
            except UnicodeDecodeError:
                raise UserError(f"not UTF-8 ({path}, line {number}): save it as UTF-8") from None
            except (ValueError, RecursionError):
                what = "the file is one JSON list" if raw.lstrip()[:1] == b"[" else "not JSON"
                raise UserError(f"{what} ({path}, line {number}): {_REMEDY}") from None
            if isinstance(record, dict):
                yield number, record
            elif line.strip():
                what = "a list" if isinstance(record, list) else "a single value"
                raise UserError(f"{what} where an object must stand ({path}, line {number}): {_REMEDY}")
