"""A csv, of any separator and encoding, read as text; or where in the file it breaks."""

import csv
import gzip
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import polars as pl

from vip5.data.options import PrepareOptions
from vip5.data.schema import match_columns
from vip5.data.table import Table
from vip5.errors import UserError

SEPARATORS = (",", "\t", ";", "|")


def read_bytes(path: Path) -> bytes:
    """What a file holds, unpacked when it is gzip; UserError for a gzip that is damaged or cut short."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" or path.suffix == ".gz" else raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"unreadable or truncated gzip ({path}: {error}): download it again") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check its permissions") from None


def read_csv(path: Path, kind: str, mapping: Mapping[str, str], reading: PrepareOptions) -> Table:
    """The columns that are ours, as text; see `read_table`."""
    packed = path.suffix.lower() == ".gz"
    source = read_bytes(path) if packed or not reading.is_utf8 else path
    try:
        if isinstance(source, bytes) and not reading.is_utf8:
            source = source.decode(reading.encoding).encode()
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
    except (UnicodeError, pl.exceptions.PolarsError) as error:
        _explain(path, reading, error)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check its permissions") from None
    position = {i: p for p, i in enumerate(chosen)}
    values = frame.drop("row").get_columns()
    frame = frame.select("row").hstack([values[position[i]].alias(ours) for ours, i in found.items()])
    return Table(frame, path, names, spelled={ours: names[i] for ours, i in found.items()})


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _explain(path: Path, reading: PrepareOptions, error: Exception) -> NoReturn:
    """Say where a csv breaks, which polars does not."""
    lines = io.StringIO(_decoded(path, reading))
    row = 1
    try:
        separator = _separator(path, lines.readline())
        lines.seek(0)
        rows = csv.reader(lines, delimiter=separator, strict=True)
        width = len(next(rows))
        for row, fields in enumerate(rows, start=2):
            if len(fields) > width:
                remedy = "put values that hold the separator in double quotes"
                raise UserError(f"{len(fields)} fields where the header has {width} ({path}, row {row}): {remedy}")
    except csv.Error as broken:
        raise UserError(f"broken quotes ({path}, row {row + 1}: {broken}): double every quote inside quotes") from None
    raise UserError(f"unreadable table ({path}: {first_line(error)}): save it again as csv") from None


def _decoded(path: Path, reading: PrepareOptions) -> str:
    """The text of a csv; UserError at the first byte that its encoding does not have."""
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig" if reading.is_utf8 else reading.encoding)
    except UnicodeDecodeError as broken:
        row = data[: broken.start].decode(reading.encoding, "ignore").count("\n") + 1
        where = f"{path}, row {row}, byte {broken.start}"
        if reading.is_utf8:
            raise UserError(f"not UTF-8 ({where}): save it as UTF-8, or name its --encoding, as cp1252") from None
        raise UserError(f"not {reading.encoding} ({where}): name the right --encoding") from None
    except UnicodeError as broken:  # of utf-16 without the mark of its byte order
        raise UserError(f"not {reading.encoding} ({path}: {broken}): name the right --encoding") from None


def _separator(path: Path, head: str) -> str:
    return "\t" if ".tsv" in path.name.lower() else max(SEPARATORS, key=head.count)
