"""The hash of what tables hold."""

import hashlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data import hashing
from vip5.data.hashing import content_hash

ROWS = st.lists(
    st.tuples(
        st.none() | st.text(max_size=3),
        st.none() | st.lists(st.none() | st.text(max_size=2), max_size=2),
        st.none() | st.integers(0, 3),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=100)
@given(ROWS, ROWS)
def test_hashes_are_equal_where_tables_are(one: list[tuple], two: list[tuple]) -> None:
    schema = {"text": pl.String, "list": pl.List(pl.String), "number": pl.Int32}
    tables = [pl.DataFrame(rows, schema=schema, orient="row") for rows in (one, two)]
    a, b = (content_hash({"t": table}) for table in tables)
    assert (a == b) == (one == two)
    assert content_hash({"t": tables[0].rechunk().vstack(tables[1]).head(len(one))}) == a


def hash_at_once(tables: dict[str, pl.DataFrame]) -> str:
    """As the folders that are there already were hashed, whole columns at a time."""
    digest = hashlib.sha256()

    def add(values: pl.Series) -> None:
        digest.update(np.packbits(values.is_null().to_numpy()).tobytes())
        if values.dtype == pl.List:
            digest.update(values.list.len().fill_null(0).cast(pl.Int64).to_numpy().tobytes())
            add(values.filter(values.list.len() > 0).explode())
        elif values.dtype in (pl.String, pl.Enum):
            texts = [(text or "").encode() for text in values.cast(pl.String)]
            digest.update(np.array([len(text) for text in texts], dtype="<i8").tobytes() + b"".join(texts))
        else:
            numbers = [number or 0 for number in values]
            digest.update(np.array(numbers, dtype="<f8" if values.dtype.is_float() else "<i8").tobytes())

    for table, frame in sorted(tables.items()):
        for column in frame:
            digest.update(f"{table}.{column.name} {frame.height}\n".encode())
            add(column)
    return digest.hexdigest()


@settings(deadline=None, max_examples=100)
@given(ROWS.map(lambda rows: rows * 7), st.sampled_from([8, 16, 2**20]))
def test_the_hash_in_blocks_is_that_of_whole_columns(rows: list[tuple], at_once: int) -> None:
    schema = {"text": pl.String, "list": pl.List(pl.String), "number": pl.Int32}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    splits = pl.Series(["train", None, "test"] * table.height, dtype=pl.Enum(["train", "test"])).head(table.height)
    table = table.with_columns(pl.col("number").cast(pl.Float32).sqrt().alias("root"), splits.alias("split"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_ROWS", at_once)
        assert content_hash({"b": table, "a": table.head(9)}) == hash_at_once({"b": table, "a": table.head(9)})
