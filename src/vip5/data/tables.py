"""Tables as people have them (csv, tsv, JSON lines, Parquet) in our columns and types, or one clear line why not."""

import ast
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from vip5.data.csv_file import read_csv
from vip5.data.json_lines import read_json_lines
from vip5.data.numbers import read_numbers
from vip5.data.options import PrepareOptions
from vip5.data.parquet import parquet_schema, read_parquet
from vip5.data.schema import REQUIRED, match_columns, without_ids
from vip5.data.table import Table
from vip5.data.times import clean, note_on_time, with_timestamps
from vip5.errors import UserError

Report = Callable[[str], object]
JSON_LINES = (".jsonl", ".ndjson", ".json")
MOST_NAMED = 20  # columns that are not used
_LARGEST = 3.4e38  # of 32 bits
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

    It is None where the command has no --map.

    Columns that are not given are not there; ids are strings, as written. Rows without any value are left out.
    reading: encoding, form of dates, decimal sign. report is told what is left out, and what is taken as the time.

    Raises: UserError for a file that cannot be read, a missing column, an empty table, a missing id, a value that is
    not of its column's type.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no file {path}: check the path" if not path.is_dir() else f"{path} is a folder: give a file")
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    form = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else "".join(suffixes[-1:])
    if form in (".parquet", ".pq"):
        table = _read_parquet(path, kind, mapping)
    elif form in JSON_LINES:
        table = read_json_lines(path, kind, mapping)
    elif form in (".csv", ".tsv", ".txt"):
        table = read_csv(path, kind, mapping, reading)
    else:
        raise UserError(
            f"cannot tell what kind of table {path} is: give .csv, .tsv, .jsonl (also with .gz) or .parquet"
        )
    if (empty := table.empty).height:
        table = replace(table, frame=table.frame.join(empty, on="row", how="anti", maintain_order="left"))
        report(f"{empty.height} rows without any value are left out ({path})")
    table, unit = typed(table, kind, reading)
    if note := note_on_time(table, mapping or {}, unit):
        report(note)
    if unused := table.unused:
        more = f" and {len(unused) - MOST_NAMED} more" if len(unused) > MOST_NAMED else ""
        remedy = "" if mapping is None else "; map what is needed with --map THEIRS=OURS"
        report(f"not used: {', '.join(unused[:MOST_NAMED])}{more} ({path}){remedy}")
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


def _read_parquet(path: Path, kind: str, mapping: Mapping[str, str] | None) -> Table:
    again = "write or download it again"
    names = tuple(parquet_schema(path, again))
    found = match_columns(kind, names, mapping, path)
    frame = read_parquet(path, [names[i] for i in found.values()], again)
    frame = frame.select(pl.col(names[i]).alias(ours) for ours, i in found.items()).with_row_index("row", offset=1)
    table = Table(frame, path, names, spelled={ours: names[i] for ours, i in found.items()})
    if (empty := table.empty["row"]).len():
        full = read_parquet(path, names, again).select(pl.any_horizontal(pl.all().is_not_null())).to_series()
        table.refuse(pl.col("row").is_in(empty.implode()) & full, *without_ids(kind))
    return table


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
            numbers = read_numbers(table, values, decimal)
            if name == "position":
                return numbers
            table.refuse(numbers.abs() > _LARGEST, "rating {rating} is too large a number", "mend it")
            return numbers.cast(pl.Float32)
        if name == "paper_id":
            numbers = read_numbers(table, values, decimal)
            table.refuse(numbers != numbers.round(), "paper_id {paper_id} is not a whole number", "mend it")
            return numbers.cast(pl.Int64)
        if name in ("user", "item"):
            _refuse_damaged(table, name, values)
        if values.dtype.is_float() and (values.round() == values).all():  # ids that passed through a table with gaps
            values = values.cast(pl.Int64)
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise UserError(f"column {name!r} holds {values.dtype} ({table.file}): give plain values") from None


def _refuse_damaged(table: Table, name: str, values: pl.Series) -> None:
    """UserError for ids that have lost digits or characters on their way: several may have become one."""
    remedy = "write the ids as text where the table is made"
    if values.dtype.is_float():
        most = 2**24 if values.dtype == pl.Float32 else 2**53
        table.refuse(values.abs() >= most, f"{name} {{{name}}} is a number with more digits than it can hold", remedy)
    if values.dtype == pl.String:
        short = values.str.contains(r"^\d(?:[.,]\d+[eE]\+?|[eE]\+)\d+$").fill_null(False)
        table.refuse(short, f"{name} {{{name}!r}} is a number that a spreadsheet has shortened", remedy)
        broken = values.str.contains("\0", literal=True).fill_null(False)
        table.refuse(broken, f"{name} {{{name}!r}} holds a zero byte", "mend it")


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
