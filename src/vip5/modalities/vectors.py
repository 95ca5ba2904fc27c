"""Vectors of a user's own: a Parquet file, or a .npy with the ids beside it, joined by item id."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vip5.data import Dataset
from vip5.data.ids import as_id, lost_zeros
from vip5.data.parquet import parquet_schema, read_parquet
from vip5.errors import UserError
from vip5.modalities.job import Draft, EncodeJob, Encoding
from vip5.modalities.store import load_array

KEY = "item"
_ROWS = 2**14  # read at once
_AGAIN = "write it again, as Parquet or as .npy"


@dataclass(frozen=True)
class OwnVectors:
    """A file of vectors: one id a row, and the rows in blocks."""

    file: Path
    ids: list[str]
    dim: int
    blocks: Callable[[int], Iterator[np.ndarray]]  # from a row on: float32 [at most _ROWS, dim]
    files: dict[str, Path]  # all that was read, by the option that names it
    columns: dict[str, str]  # those that the user named, by the option that names them


def open_vectors(file: Path, ids: Path | None = None, key: str | None = None, vector: str | None = None) -> OwnVectors:
    """A user's vectors.

    file: Parquet with a column of ids, `key`, and either one column of lists (`vector`, where there are several) or
    all other columns numbers; or .npy [n, d], with `ids` beside it: a text file with one id a line, or Parquet.

    Raises: UserError for a file that cannot be read, other shapes, and ids that are missing or stand there twice.
    """
    if file.suffix == ".npy":
        if ids is None:
            raise UserError(f"{file} has no ids: give a file with one id a row (--ids ids.txt)")
        if vector is not None:
            raise UserError(f"{file} has no columns: leave out --vector")
        found = _npy(file, ids, key)
    elif ids is not None:
        raise UserError(f"{file} has a column of ids of its own: leave out --ids, and name it with --key")
    else:
        found = _parquet(file, key, vector)
    _check_ids(found.ids, ids or file)
    return found


def encode_vectors(dataset: Dataset, vectors: OwnVectors, name: str = "vectors") -> Encoding:
    """A user's vectors as the store `name` of `dataset`; items that the file does not have are masked.

    Raises: UserError where the file knows none of the items, or for numbers that are not finite; see `EncodeJob.run`.
    """
    items = item_rows(dataset, vectors)
    if (items < 0).all():
        ours, theirs = dataset.items["item"][0], vectors.ids[0]
        raise UserError(f"{vectors.file} has none of the items (ids like {theirs!r}; here {ours!r}): name other ids")
    content = _hash_of_files(vectors.files.values())
    job = EncodeJob(
        dataset=dataset,
        kind="vectors",
        name=name,
        encoder=vectors.file.name,
        fingerprint=hashlib.sha256(f"vectors 1, {vectors.dim}, {content}".encode()).hexdigest(),
        dim=vectors.dim,
        inputs=len(vectors.ids),
        inputs_hash=content,
        options={option: str(path.absolute()) for option, path in vectors.files.items()} | vectors.columns,
    )

    def fill(draft: Draft) -> None:
        for block in vectors.blocks(draft.done):
            start = draft.done
            _check_finite(block, vectors, start)
            rows = items[start : start + len(block)]
            draft.add(rows[rows >= 0], block[rows >= 0], len(block))

    return job.run(fill)


def item_rows(dataset: Dataset, vectors: OwnVectors) -> np.ndarray:
    """The item of each row of the file, int64 [n]; -1 for an id that no item has."""
    known = {item: row for row, item in enumerate(dataset.items["item"])}
    if lost := lost_zeros(pl.Series(vectors.ids, dtype=pl.String), dataset.items["item"]):
        raise UserError(
            f"id {lost.here!r} of {vectors.file} is unknown, and the items have {lost.there!r}: write the ids as text, "
            "with all their zeros, where the file is made"
        )
    return np.array([known.get(one, -1) for one in vectors.ids])


def _npy(file: Path, ids: Path, key: str | None) -> OwnVectors:
    try:
        matrix = load_array(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {file} ({getattr(error, 'strerror', None) or error}): give a .npy of numbers"
        ) from None
    names = _ids_of(ids, key)
    if matrix.ndim != 2 or not matrix.shape[1] or not _is_number(matrix.dtype):
        raise UserError(f"{file} holds {matrix.dtype} {list(matrix.shape)}: give numbers [n, d], one row an item")
    if len(matrix) != len(names):
        raise UserError(f"{file} has {len(matrix)} rows and {ids} {len(names)} ids: give one id a row, in order")

    def blocks(start: int) -> Iterator[np.ndarray]:
        for first in range(start, len(matrix), _ROWS):
            with np.errstate(over="ignore"):  # what is too large for float32 is found as not finite
                block = np.asarray(matrix[first : first + _ROWS]).astype(np.float32)
            yield block

    return OwnVectors(file, names, matrix.shape[1], blocks, {"file": file, "ids": ids}, _named(key=key))


def _ids_of(file: Path, key: str | None) -> list[str]:
    if file.suffix == ".parquet":
        return _ids_column(file, key or KEY)
    if key is not None:
        raise UserError(f"{file} has no columns: leave out --key")
    try:
        text = file.read_text(encoding="utf-8-sig").rstrip("\r\n")
        return [as_id(line) for line in text.split("\n")] if text else []
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file} ({error}): give a text file in UTF-8, one id a line") from None


def _parquet(file: Path, key: str | None, vector: str | None) -> OwnVectors:
    ids = _ids_column(file, key or KEY)
    schema = parquet_schema(file, _AGAIN)
    columns = _vector_columns(file, key or KEY, vector, schema)
    width = _width(file, columns[0]) if _is_list(schema[columns[0]]) else len(columns)

    def blocks(start: int) -> Iterator[np.ndarray]:
        at = 0
        for batch in _batches(file, columns):
            if at >= start:
                yield _numbers(batch, file, width)
            at += batch.num_rows

    return OwnVectors(file, ids, width, blocks, {"file": file}, _named(key=key, vector=vector))


def _ids_column(file: Path, key: str) -> list[str]:
    schema = parquet_schema(file, _AGAIN)
    if key not in schema:
        raise UserError(f"no column {key!r} in {file} (there are {', '.join(schema)}): name the ids with --key")
    if not (schema[key] == pl.String or schema[key].is_integer()):
        raise UserError(f"the column {key!r} of {file} is {schema[key]}: give ids as text or whole numbers")
    ids = read_parquet(file, [key], _AGAIN)[key].cast(pl.String)
    if ids.null_count():
        raise UserError(f"no id in row {ids.is_null().arg_max()} of {file} (counted from 0): fill it in")
    return [as_id(one) for one in ids]


def _vector_columns(file: Path, key: str, vector: str | None, schema: Mapping[str, pl.DataType]) -> list[str]:
    """One column of lists, or columns of numbers."""
    others = [name for name in schema if name != key]
    if vector is not None:
        if vector not in schema or not _is_list(schema[vector]):
            raise UserError(f"no column of lists {vector!r} in {file}: it has {', '.join(others)}")
        return [vector]
    lists = [name for name in others if _is_list(schema[name])]
    strange = [name for name in others if not schema[name].is_numeric()]
    if len(lists) == 1 and len(others) == 1:
        return lists
    if lists:
        raise UserError(f"{file} has the columns {', '.join(others)}: name the one with the vectors with --vector")
    if strange or not others:
        what = f"the column {strange[0]!r} is no number" if strange else "there is no column but the ids"
        raise UserError(f"no vectors in {file} ({what}): give one column of lists, or columns of numbers alone")
    return others


def _width(file: Path, column: str) -> int:
    """How long the lists are."""
    lengths = np.concatenate([np.zeros(0, int), *(_lengths(batch.column(0)) for batch in _batches(file, [column]))])
    if not len(lengths):
        raise UserError(f"{file} has no rows: give one vector an item")
    if (odd := lengths != lengths.max()).any() or not lengths.max():
        raise UserError(
            f"the vectors of {file} are not of one length (row {odd.argmax()} of {column!r}, counted from 0): mend it"
        )
    return int(lengths[0])


def _batches(file: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            yield from table.iter_batches(_ROWS, columns=columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"cannot read {file} ({str(error).splitlines()[0]}): {_AGAIN}") from None


def _lengths(lists: pa.Array) -> np.ndarray:
    return lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)


def _numbers(batch: pa.RecordBatch, file: Path, width: int) -> np.ndarray:
    table = pl.from_arrow(batch)
    assert isinstance(table, pl.DataFrame)
    if len(table.columns) == 1 and _is_list(table.dtypes[0]):
        flat = table.to_series().explode()
        if not flat.dtype.is_numeric():
            raise UserError(f"the vectors of {file} hold {flat.dtype}: give lists of numbers")
        return flat.cast(pl.Float32, strict=False).fill_null(np.nan).to_numpy().reshape(-1, width)
    return table.cast(pl.Float32).fill_null(np.nan).to_numpy()


def _check_ids(ids: list[str], file: Path) -> None:
    if not ids:
        raise UserError(f"{file} has no rows: give one vector an item")
    seen: set[str] = set()
    for row, one in enumerate(ids):
        if not one:
            raise UserError(f"no id in row {row} of {file} (counted from 0): fill it in")
        if one in seen:
            raise UserError(f"the id {one!r} stands twice in {file} (row {row}, counted from 0): keep one row an item")
        seen.add(one)


def _check_finite(block: np.ndarray, vectors: OwnVectors, start: int) -> None:
    if (bad := ~np.isfinite(block).all(axis=1)).any():
        row = start + int(bad.argmax())
        raise UserError(
            f"not a finite number in {vectors.file} (row {row}, counted from 0, id {vectors.ids[row]!r}): mend it"
        )


def _is_number(dtype: np.dtype) -> bool:
    return np.issubdtype(dtype, np.floating) or np.issubdtype(dtype, np.integer)


def _is_list(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List | pl.Array)


def _named(**options: str | None) -> dict[str, str]:
    return {option: value for option, value in options.items() if value is not None}


def _hash_of_files(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
