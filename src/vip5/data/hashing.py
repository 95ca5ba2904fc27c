"""Hash of what tables hold."""

import hashlib
from collections.abc import Mapping

import numpy as np
import polars as pl


def content_hash(tables: Mapping[str, pl.DataFrame]) -> str:
    """sha256 (hex) of what the tables hold, whatever file, compression, time or machine."""
    digest = hashlib.sha256()
    for table, frame in sorted(tables.items()):
        for column in frame:
            digest.update(f"{table}.{column.name} {frame.height}\n".encode())
            _digest(digest, column)
    return digest.hexdigest()


def _digest(digest: "hashlib._Hash", values: pl.Series) -> None:
    digest.update(np.packbits(values.is_null().to_numpy()).tobytes())
    if values.dtype == pl.List:
        digest.update(values.list.len().fill_null(0).cast(pl.Int64).to_numpy().tobytes())
        _digest(digest, values.filter(values.list.len() > 0).explode())
    elif values.dtype == pl.String or values.dtype == pl.Enum:
        texts = values.cast(pl.String).fill_null("")
        digest.update(texts.str.len_bytes().cast(pl.Int64).to_numpy().tobytes())
        digest.update("".join(texts).encode())
    else:
        digest.update(values.fill_null(0).to_numpy().astype("<f8" if values.dtype.is_float() else "<i8").tobytes())
