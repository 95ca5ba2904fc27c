"""Hash of what tables hold, in blocks of rows: what it takes does not grow with the table."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import polars as pl

_ROWS = 2**20  # at once; a multiple of 8, since nulls are bits


def content_hash(tables: Mapping[str, pl.DataFrame]) -> str:
    """sha256 (hex) of what the tables hold, whatever file, compression, time or machine."""
    digest = hashlib.sha256()
    add_tables(digest, tables)
    return digest.hexdigest()


def add_tables(digest: "hashlib._Hash", tables: Mapping[str, pl.DataFrame]) -> None:
    """Feed the digest with tables, in the order of their names, as `content_hash` does."""
    for table, frame in sorted(tables.items()):
        for column in frame:
            digest.update(f"{table}.{column.name} {frame.height}\n".encode())
            _add(digest, column)


def add_numbers(digest: "hashlib._Hash", name: str, height: int, blocks: Iterable[np.ndarray]) -> None:
    """Feed the digest with a column of whole numbers without nulls that is there in blocks only.

    name: TABLE.COLUMN.
    """
    digest.update(f"{name} {height}\n".encode())
    digest.update(bytes(-(-height // 8)))
    for block in blocks:
        digest.update(block.astype("<i8").tobytes())


def _add(digest: "hashlib._Hash", values: pl.Series) -> None:
    for part in _parts(values):
        digest.update(np.packbits(part.is_null().to_numpy()).tobytes())
    if values.dtype == pl.List:
        for part in _parts(values):
            digest.update(part.list.len().fill_null(0).cast(pl.Int64).to_numpy().tobytes())
        _add(digest, values.filter(values.list.len() > 0).explode())
    elif values.dtype == pl.String or values.dtype == pl.Enum:
        for part in _parts(values):
            digest.update(_texts(part).str.len_bytes().cast(pl.Int64).to_numpy().tobytes())
        for part in _parts(values):
            digest.update(_texts(part).str.join().item().encode())
    else:
        dtype = "<f8" if values.dtype.is_float() else "<i8"
        for part in _parts(values):
            digest.update(part.fill_null(0).to_numpy().astype(dtype).tobytes())


def _texts(values: pl.Series) -> pl.Series:
    return values.cast(pl.String).fill_null("")


def _parts(values: pl.Series) -> Iterator[pl.Series]:
    return (values.slice(start, _ROWS) for start in range(0, len(values), _ROWS))
