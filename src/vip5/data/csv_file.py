"""A csv, of any separator and encoding, read as text as Python's csv module reads it; or where it breaks."""

import csv
import mmap
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NoReturn

import polars as pl

from vip5.data.options import PrepareOptions
from vip5.data.packed import unpacked
from vip5.data.schema import match_columns, without_ids
from vip5.data.table import Table
from vip5.errors import UserError

SEPARATORS = (",", "\t", ";", "|")
_AT_ONCE = 2**16  # rows
_LONGEST = 2**24  # characters of a value; an open quote swallows what follows
_BOM = b"\xef\xbb\xbf"


def read_csv(path: Path, kind: str, mapping: Mapping[str, str] | None, reading: PrepareOptions) -> Table:
    """The columns that are ours, as text; see `read_table`.

    Polars reads a file whose quotes are as RFC 4180 has them, any other goes through Python's csv module: a quote
    within a value is a character there, and no row takes in the next one.
    """
    with unpacked(path) as plain, _in_utf8(plain, path, reading) as text:
        try:
            rows = _rows(text, path)
            first, names = next(((n, row) for n, row in enumerate(rows, start=1) if row), (1, []))
            if not names:
                raise UserError(f"the table of {kind} is empty ({path}): give one with a header and rows")
            found = match_columns(kind, tuple(names), mapping, path)
            chosen = sorted(found.values())
            separator = _separator(text, path)
            if first == 1 and _is_regular(text, separator, len(names)):
                frame = _by_polars(text, path, separator, chosen, len(names))
            else:
                frame = _by_python(rows, path, first, chosen, len(names))
            position = {i: f"{p}" for p, i in enumerate(chosen)}
            # What holds nothing but white space, in quotes or not, is empty.
            values = {ours: pl.col(position[i]) for ours, i in found.items()}
            full = {ours: value.str.contains(r"\S") for ours, value in values.items()}
            frame = frame.select("row", **{ours: pl.when(full[ours]).then(value) for ours, value in values.items()})
            table = Table(frame, path, tuple(names), spelled={ours: names[i] for ours, i in found.items()})
            if empty := set(table.empty["row"]):
                for number, row in enumerate(_rows(text, path), start=1):
                    if number in empty and any(value.strip() for value in row):
                        table.refuse(pl.col("row") == number, *without_ids(kind))
        except UnicodeError as error:
            _refuse_encoding(text, path, PrepareOptions(), error)
        except OSError as error:
            raise UserError(f"cannot read {path} ({error.strerror}): check its permissions") from None
    return table


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _in_utf8(file: Path, named: Path, reading: PrepareOptions) -> Iterator[Path]:
    """The same text in UTF-8; UserError at the first byte that another encoding does not have."""
    if reading.is_utf8:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="vip5-") as folder:
        target = Path(folder) / "utf8"
        try:
            with (
                file.open(encoding=reading.encoding, newline="") as text,
                target.open("w", encoding="utf-8", newline="") as out,
            ):
                while part := text.read(_AT_ONCE):
                    out.write(part)
        except UnicodeError as error:
            _refuse_encoding(file, named, reading, error)
        yield target


def _refuse_encoding(file: Path, named: Path, reading: PrepareOptions, error: UnicodeError) -> NoReturn:
    """Say where: decoding in parts, as above, tells no place."""
    data = file.read_bytes()
    try:
        data.decode("utf-8-sig" if reading.is_utf8 else reading.encoding)
    except UnicodeDecodeError as broken:
        row = data[: broken.start].decode(reading.encoding, "ignore").count("\n") + 1
        where = f"{named}, row {row}, byte {broken.start}"
        if reading.is_utf8:
            raise UserError(f"not UTF-8 ({where}): save it as UTF-8, or name its --encoding, as cp1252") from None
        raise UserError(f"not {reading.encoding} ({where}): name the right --encoding") from None
    except UnicodeError as broken:  # of utf-16 without the mark of its byte order
        error = broken
    raise UserError(f"not {reading.encoding} ({named}: {error}): name the right --encoding") from None


def _rows(text: Path, named: Path) -> Iterator[list[str]]:
    """The records of a csv; UserError for quotes that do not end where a value does."""
    number, before = 0, csv.field_size_limit(_LONGEST)
    try:
        with text.open(encoding="utf-8-sig", newline="") as stream:
            for row in csv.reader(stream, delimiter=_separator(text, named), strict=True):
                number += 1
                yield row
    except csv.Error as broken:
        what = f"{named}, row {number + 1}: {broken}"
        raise UserError(f"broken quotes ({what}): put values with quotes in quotes, and double those inside") from None
    finally:
        csv.field_size_limit(before)


def _separator(text: Path, named: Path) -> str:
    """That of the first line that holds anything; a tab in a .tsv."""
    if ".tsv" in named.name.lower():
        return "\t"
    with text.open(encoding="utf-8-sig") as stream:  # any ending of lines
        head = next((line for line in stream if line.strip()), "")
    return max(SEPARATORS, key=re.sub(r'"[^"]*"', "", head).count)


@cache
def _grammar(separator: str, width: int) -> re.Pattern[bytes]:
    """A regular csv: so many values a row at most, each whole in quotes, where a quote is doubled, or without a quote;
    and lines that end in \\n."""
    sep = re.escape(separator).encode()
    value = rb'(?:"(?:[^"]++|"")*+"|[^"\r\n' + sep + rb"]*+)"
    row = value + rb"(?:" + sep + value + rb"){0,%d}+" % (width - 1)
    return re.compile(rb"(?:" + row + rb"\r?\n)*+" + row + rb"\Z")


def _is_regular(text: Path, separator: str, width: int) -> bool:
    """Whether nobody can read it in two ways. (Polars passes over values that a row has too many.)"""
    if not text.stat().st_size:
        return True
    with text.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = len(_BOM) if data[: len(_BOM)] == _BOM else 0
        return _grammar(separator, width).match(data, start) is not None


def _by_polars(text: Path, named: Path, separator: str, chosen: Sequence[int], width: int) -> pl.DataFrame:
    try:
        frame = pl.read_csv(text, separator=separator, columns=chosen, infer_schema=False)
    except pl.exceptions.PolarsError as error:  # which does not say where
        _by_python(_rows(text, named), named, 1, chosen, width, header=True)
        raise UserError(f"unreadable table ({named}: {first_line(error)}): save it again as csv") from None
    return frame.rename({name: f"{n}" for n, name in enumerate(frame.columns)}).with_row_index("row", offset=2)


def _by_python(
    rows: Iterator[list[str]], named: Path, first: int, chosen: Sequence[int], width: int, header: bool = False
) -> pl.DataFrame:
    """Column n of the frame is chosen[n]; `first` is the row of the header, which `rows` begin with where it is there.

    What is missing at a row's end is null; UserError for a row with more values than the header.
    """
    names = [f"{n}" for n in range(len(chosen))]
    schema = {"row": pl.UInt32(), **dict.fromkeys(names, pl.String())}
    parts, number = [pl.DataFrame(schema=schema)], first
    if header:
        next(rows, None)
    while part := list(islice(rows, _AT_ONCE)):
        columns: list[list[str | None]] = [[] for _ in chosen]
        for place, row in enumerate(part, start=number + 1):
            if len(row) > width:
                what = f"{len(row)} fields where the header has {width} ({named}, row {place})"
                raise UserError(f"{what}: put values that hold the separator in double quotes")
            for column, i in zip(columns, chosen, strict=True):
                column.append(row[i] if i < len(row) else None)
        rows_of_part = range(number + 1, number + 1 + len(part))
        parts.append(pl.DataFrame({"row": rows_of_part, **dict(zip(names, columns, strict=True))}, schema=schema))
        number += len(part)
    return pl.concat(parts)
