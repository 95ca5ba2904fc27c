"""Tables as people have them (csv, tsv, Parquet) read to our columns and types, or one clear line why not."""

import ast
import csv
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import polars as pl

from vip5.data.schema import REQUIRED, match_columns
from vip5.errors import UserError

SEPARATORS = (",", "\t", ";", "|")
_DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")


@dataclass(frozen=True)
class Table:
    """A table with our column names and types; the column `row` says where in the file each record stands.

    `names` are all the columns that the file has, as it spells them. `unit` is what `row` counts. Row 1 of a csv is its
    header, as a spreadsheet shows it.
    """

    frame: pl.DataFrame
    file: Path
    names: tuple[str, ...]
    unit: str = "row"

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


def read_table(path: str | Path, kind: str, mapping: Mapping[str, str] | None = None) -> Table:
    """Read the table `kind` (a key of COLUMNS); columns found by name, `mapping` (theirs → ours) goes first.

    Columns that are not given are not there; ids are strings, as written. Rows without any value are left out.

    Raises: UserError for a file that cannot be read, a missing column, an empty table, a missing id, a value that is
    not of its column's type.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no file {path}: check the path" if not path.is_dir() else f"{path} is a folder: give a file")
    names = [suffix.lower() for suffix in path.suffixes[-2:]]
    if names[-1:] in ([".parquet"], [".pq"]):
        frame, found = _read_parquet(path, kind, mapping or {})
    elif names and (names[-2] if names[-1] == ".gz" and len(names) > 1 else names[-1]) in (".csv", ".tsv", ".txt"):
        frame, found = _read_csv(path, kind, mapping or {})
    else:
        raise UserError(f"cannot tell what kind of table {path} is: give .csv, .tsv (also with .gz) or .parquet")
    blank = frame.select(pl.all_horizontal(pl.exclude("row").is_null())).to_series()
    if blank.any():
        frame = frame.filter(~blank)
    return typed(Table(frame, path, found), kind)


def typed(table: Table, kind: str) -> Table:
    """The same table, each of its columns put in our type and place, required ones without nulls."""
    if not table.frame.height:
        raise UserError(f"the table of {kind} is empty ({table.file}): give one with rows")
    for place, name in enumerate(table.frame.columns):
        if name != "row":
            table.frame.replace_column(place, _convert(table, name))
    for name in REQUIRED[kind]:
        table.refuse(pl.col(name).is_null(), f"no {name}", "fill it in or remove the row")
    return table


def read_bytes(path: Path) -> bytes:
    """What a file holds, unpacked when it is gzip; UserError for a gzip that is damaged or cut short."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" or path.suffix == ".gz" else raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"unreadable or truncated gzip ({path}: {error}): download it again") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check its permissions") from None


def _read_parquet(path: Path, kind: str, mapping: Mapping[str, str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    try:
        names = tuple(pl.read_parquet_schema(path))
        found = match_columns(kind, names, mapping, path)
        frame = pl.read_parquet(path, columns=[names[i] for i in found.values()])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"unreadable Parquet ({path}: {_first_line(error)}): write or download it again") from None
    frame = frame.select(pl.col(names[i]).alias(ours) for ours, i in found.items())
    return frame.with_row_index("row", offset=1), names


def _read_csv(path: Path, kind: str, mapping: Mapping[str, str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    packed = path.suffix.lower() == ".gz"
    source = read_bytes(path) if packed else path
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            head = stream.readline().decode("utf-8-sig").rstrip("\r\n")
        separator = _separator(path, head)
        names = tuple(next(csv.reader([head], delimiter=separator), []))
        if not names:
            raise UserError(f"the table of {kind} is empty ({path}): give one with a header and rows")
        found = match_columns(kind, names, mapping, path)
        chosen = sorted(found.values())
        frame = pl.read_csv(
            source, separator=separator, columns=chosen, infer_schema=False, row_index_name="row", row_index_offset=2
        )
    except (UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        _explain_csv(path, error)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check its permissions") from None
    position = {i: p for p, i in enumerate(chosen)}
    values = frame.drop("row").get_columns()
    return frame.select("row").hstack([values[position[i]].alias(ours) for ours, i in found.items()]), names


def _explain_csv(path: Path, error: Exception) -> NoReturn:
    """Say where a csv breaks, which polars does not."""
    data = read_bytes(path)
    row = 1
    try:
        lines = io.StringIO(data.decode("utf-8-sig"))
        separator = _separator(path, lines.readline())
        lines.seek(0)
        rows = csv.reader(lines, delimiter=separator, strict=True)
        width = len(next(rows))
        for row, fields in enumerate(rows, start=2):
            if len(fields) > width:
                remedy = "put values that hold the separator in double quotes"
                raise UserError(f"{len(fields)} fields where the header has {width} ({path}, row {row}): {remedy}")
    except UnicodeDecodeError as broken:
        row = data.count(b"\n", 0, broken.start) + 1
        raise UserError(f"not UTF-8 ({path}, row {row}, byte {broken.start}): save the file as UTF-8") from None
    except csv.Error as broken:
        raise UserError(f"broken quotes ({path}, row {row + 1}: {broken}): double every quote inside quotes") from None
    raise UserError(f"unreadable table ({path}: {_first_line(error)}): save it again as csv") from None


def _separator(path: Path, head: str) -> str:
    return "\t" if ".tsv" in path.name.lower() else max(SEPARATORS, key=head.count)


def _convert(table: Table, name: str) -> pl.Series:
    values = table.frame[name]
    try:
        if name == "categories":
            return categories(values)
        if isinstance(values.dtype, pl.List):  # paragraphs of a text
            values = values.cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
        if isinstance(values.dtype, pl.Struct):
            raise pl.exceptions.InvalidOperationError
        if values.dtype == pl.String:
            values = values.str.strip_chars().replace("", None)
        if name == "timestamp":
            return _timestamps(table, values)
        if name in ("rating", "position"):
            return _numbers(table, values).cast(pl.Float32 if name == "rating" else pl.Float64)
        if name == "paper_id":
            numbers = _numbers(table, values)
            table.refuse(numbers != numbers.round(), "paper_id {paper_id} is not a whole number", "mend it")
            return numbers.cast(pl.Int64)
        if values.dtype.is_float() and (values.round() == values).all():  # ids that passed through a table with gaps
            values = values.cast(pl.Int64)
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise UserError(f"column {name!r} holds {values.dtype} ({table.file}): give plain values") from None


def _numbers(table: Table, values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Float64, strict=False).fill_nan(None)
    bad = (numbers.is_null() | numbers.is_infinite()) & values.is_not_null()
    if values.dtype.is_float():
        bad &= values.is_not_nan()
    table.refuse(
        bad.fill_null(False), f"{values.name} {{{values.name}!r}} is not a number", "mend it or leave it empty"
    )
    return numbers


def _whole(numbers: pl.Series) -> pl.Series:
    """As Int64 where no number has a fraction."""
    exact = (numbers.round() == numbers).all() and not (numbers.abs() >= 2**53).any()
    return numbers.cast(pl.Int64) if exact else numbers


def _timestamps(table: Table, values: pl.Series) -> pl.Series:
    """Whole numbers as Int64, others as Float64; dates as seconds since 1970, UTC where they name no zone."""
    if values.dtype.is_temporal():
        return _whole(values.dt.epoch("us") / 1e6)
    whole = values.cast(pl.Int64, strict=False)
    if whole.null_count() == values.null_count() and not values.dtype.is_float():
        return whole
    if values.dtype == pl.String:
        plain = values.str.replace("T", " ", literal=True).str.replace(r"\s*(?:Z|UTC)$", "+00:00").to_frame()
        text = pl.col(values.name)
        dates = [text.str.to_datetime(f, time_unit="us", strict=False, time_zone="UTC") for f in _DATES]
        times = plain.select(pl.coalesce(text.cast(pl.Float64, strict=False), *(d.dt.epoch("us") / 1e6 for d in dates)))
        bad = values.is_not_null() & ~times.to_series().is_finite().fill_null(False)
        what = f"timestamp {{{values.name}!r}} is neither a number nor a date like 2014-02-28 10:30:00"
        table.refuse(bad, what, "mend it, or leave the whole column out")
        return _whole(times.to_series())
    return _whole(_numbers(table, values))


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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
