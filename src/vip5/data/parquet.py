"""Parquet from outside, by PyArrow: it checks what a page unpacks to, and a damaged file is an error, never a crash."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vip5.errors import UserError


def parquet_schema(file: Path, remedy: str) -> dict[str, pl.DataType]:
    """The file's columns, in order, and their types; UserError where it cannot be read."""
    try:
        with pq.ParquetFile(file) as stored:
            names = stored.schema_arrow.names
            frame = cast(pl.DataFrame, pl.from_arrow(stored.schema_arrow.empty_table()))
    except Exception as error:  # a damaged schema is anything
        raise _unreadable(file, error, remedy) from None
    return dict(zip(names, frame.dtypes, strict=True))


def read_parquet(file: Path, columns: Sequence[str], remedy: str) -> pl.DataFrame:
    """Some columns of a file, in this order; UserError where it cannot be read, or is not what it says it is."""
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as stored:
            table = stored.read(list(columns)).select(list(columns))
        table.validate(full=True)  # among others that texts are UTF-8, which Polars takes for granted
        return cast(pl.DataFrame, pl.from_arrow(table))
    except (OSError, ValueError, KeyError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise _unreadable(file, error, remedy) from None


def _unreadable(file: Path, error: Exception, remedy: str) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"unreadable Parquet ({file}: {reason}): {remedy}")
