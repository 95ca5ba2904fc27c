"""Tables as people have them (csv, tsv, JSON lines, Parquet) in our columns and types, or one clear line why not."""

import ast
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from vip5.data.csv_file import first_line, read_csv
from vip5.data.numbers import read_numbers
from vip5.data.options import PrepareOptions
from vip5.data.packed import unpacked
from vip5.data.schema import REQUIRED, match_columns
from vip5.data.table import Table
from vip5.data.times import clean, note_on_time, with_timestamps
from vip5.errors import UserError

Report = Callable[[str], object]
JSON_LINES = (".jsonl", ".ndjson", ".json")
_PLAIN = PrepareOptions()


def _silent(line: str) -> None:
    pass


def read_table(
    path: str | Path,
    kind: str,
    mapping: Mapping[str, str] | None = None,
    reading: PrepareOptions = _PLAIN,
    report: Report = _silent,
) -> Table:
    """Read the table `kind` (a key of COLUMNS); columns found by name, `mapping` (theirs → ours) goes first.

    Columns that are not given are not there; ids are strings, as written. Rows without any value are left out.
    reading: encoding, form of dates, decimal sign. report is told what is left out, and what is taken as the time.

    Raises: UserError for a file that cannot be read, a missing column, an empty table, a missing id, a value that is
    not of its column's type.
    """
    path, mapping = Path(path), mapping or {}
    if not path.is_file():
        raise UserError(f"no file {path}: check the path" if not path.is_dir() else f"{path} is a folder: give a file")
    names = [suffix.lower() for suffix in path.suffixes[-2:]]
    if names[-1:] in ([".parquet"], [".pq"]):
        table = _read_parquet(path, kind, mapping)
    elif names and (names[-2] if names[-1] == ".gz" and len(names) > 1 else names[-1]) in JSON_LINES:
        table = _read_json_lines(path, kind, mapping)
    elif names and (names[-2] if names[-1] == ".gz" and len(names) > 1 else names[-1]) in (".csv", ".tsv", ".txt"):
        table = read_csv(path, kind, mapping, reading)
    else:
        raise UserError(
            f"cannot tell what kind of table {path} is: give .csv, .tsv, .jsonl (also with .gz) or .parquet"
        )
    blank = table.frame.select(pl.all_horizontal(pl.exclude("row").is_null())).to_series()
    if blank.any():
        table = replace(table, frame=table.frame.filter(~blank))
        report(f"{blank.sum()} rows without any value are left out ({path})")
    table, unit = typed(table, kind, reading)
    if note := note_on_time(table, mapping, unit):
        report(note)
    return table


def typed(table: Table, kind: str, reading: PrepareOptions = _PLAIN) -> tuple[Table, str | None]:
    """The same table, each of its columns put in our type and place, required ones without nulls; and what its times
    were, where not seconds or plain numbers."""
    if not table.frame.height:
        raise UserError(f"the table of {kind} is empty ({table.file}): give one with rows")
    for place, name in enumerate(table.frame.columns):
        if name not in ("row", "timestamp", "date", "time"):
            table.frame.replace_column(place, _convert(table, name, reading.decimal))
    table, unit = with_timestamps(table, reading)
    for name in REQUIRED[kind]:
        table.refuse(pl.col(name).is_null(), f"no {name}", "fill it in or remove the row")
    return table, unit


def _read_parquet(path: Path, kind: str, mapping: Mapping[str, str]) -> Table:
    try:
        names = tuple(pl.read_parquet_schema(path))
        found = match_columns(kind, names, mapping, path)
        frame = pl.read_parquet(path, columns=[names[i] for i in found.values()])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"unreadable Parquet ({path}: {first_line(error)}): write or download it again") from None
    frame = frame.select(pl.col(names[i]).alias(ours) for ours, i in found.items())
    return Table(frame.with_row_index("row", offset=1), path, names, spelled={n: names[i] for n, i in found.items()})


def _read_json_lines(path: Path, kind: str, mapping: Mapping[str, str]) -> Table:
    """An object a line; UserError for the line that breaks, and for files that have a command of their own."""
    with unpacked(path) as plain:
        try:
            frame = pl.read_ndjson(plain, infer_schema_length=None)
        except (OSError, pl.exceptions.PolarsError) as error:
            _refuse_json(path, plain)
            raise UserError(f"unreadable JSON lines ({path}: {first_line(error)}): write one object a line") from None
    names = tuple(frame.columns)
    if {"reviewerID", "asin"} <= set(names):
        raise UserError(f"{path} is a file of an Amazon release: read it with vip5 data amazon")
    found = match_columns(kind, names, mapping, path)
    frame = frame.select(pl.col(names[i]).alias(ours) for ours, i in found.items())
    spelled = {ours: names[i] for ours, i in found.items()}
    return Table(frame.with_row_index("row", offset=1), path, names, "line", spelled=spelled)


def _refuse_json(path: Path, plain: Path) -> None:
    remedy = "write one JSON object a line"
    with plain.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                value = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError):
                whole = line.lstrip()[:1] == b"["
                what = "the file is one JSON list" if whole else "not JSON"
                raise UserError(f"{what} ({path}, line {number}): {remedy}") from None
            if not isinstance(value, dict):
                raise UserError(
                    f"a {type(value).__name__} where an object must stand ({path}, line {number}): {remedy}"
                )


def _convert(table: Table, name: str, decimal: str) -> pl.Series:
    values = table.frame[name]
    try:
        if name == "categories":
            return categories(values)
        if isinstance(values.dtype, pl.List):  # paragraphs of a text
            values = values.cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
        if isinstance(values.dtype, pl.Struct):
            raise pl.exceptions.InvalidOperationError
        values = clean(values)
        if name in ("rating", "position"):
            return read_numbers(table, values, decimal).cast(pl.Float32 if name == "rating" else pl.Float64)
        if name == "paper_id":
            numbers = read_numbers(table, values, decimal)
            table.refuse(numbers != numbers.round(), "paper_id {paper_id} is not a whole number", "mend it")
            return numbers.cast(pl.Int64)
        if name in ("user", "item"):
            _refuse_rounded(table, name, values)
        if values.dtype.is_float() and (values.round() == values).all():  # ids that passed through a table with gaps
            values = values.cast(pl.Int64)
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise UserError(f"column {name!r} holds {values.dtype} ({table.file}): give plain values") from None


def _refuse_rounded(table: Table, name: str, values: pl.Series) -> None:
    """UserError for ids that were numbers in between and have lost digits: several may have become one."""
    remedy = "write the ids as text where the table is made"
    if values.dtype.is_float():
        table.refuse(values.abs() >= 2**53, f"{name} {{{name}}} is a number with more digits than it can hold", remedy)
    if values.dtype == pl.String:
        short = values.str.contains(r"^\d[.,]\d+[eE]\+\d+$").fill_null(False)
        table.refuse(short, f"{name} {{{name}!r}} is a number that a spreadsheet has shortened", remedy)


def categories(values: pl.Series) -> pl.Series:
    """Lists of distinct names from lists, lists of lists, or text split at "|" or ";", or a list written as text."""
    while isinstance(values.dtype, pl.List) and isinstance(values.dtype.inner, pl.List):
        values = values.list.eval(pl.element().explode())
    if not isinstance(values.dtype, pl.List):
        cells = values.cast(pl.String).alias("cell").to_frame()
        texts = cells["cell"].unique().drop_nulls()
        lists = pl.Series("list", [split_categories(text) for text in texts], dtype=pl.List(pl.String))
        values = cells.join(texts.to_frame().with_columns(lists), on="cell", how="left", maintain_order="left")["list"]
    clean = pl.element().cast(pl.String).str.strip_chars()
    names = values.list.eval(clean.filter(clean != "").unique(maintain_order=True))
    return names.cast(pl.List(pl.String)).fill_null([]).alias("categories")


def split_categories(text: str) -> list[str]:
    """The names in one cell: a JSON or Python list, or names between "|" or ";"."""
    if text.lstrip().startswith("["):
        for parse in (json.loads, ast.literal_eval):
            try:
                return list(_flat(parse(text.strip())))
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
    return text.split("|" if "|" in text else ";")


def _flat(value: object) -> list[str]:
    if isinstance(value, list | tuple):
        return [name for part in value for name in _flat(part)]
    return [] if value is None else [str(value)]
