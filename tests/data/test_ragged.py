"""Rows of different lengths in one array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.data import Ragged
from vip5.data.ragged import repeats


@given(st.lists(st.lists(st.integers(-1000, 1000), max_size=5), max_size=8))
def test_rows_come_back_as_they_were(rows: list[list[int]]) -> None:
    ragged = Ragged.from_lists(rows)
    assert [row.tolist() for row in ragged] == rows
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert ragged.rows.tolist() == [i for i, row in enumerate(rows) for _ in row]
    assert ragged.values.dtype == np.int32 and ragged.offsets.dtype == np.int64


def test_rows_are_counted_from_the_end_and_checked() -> None:
    ragged = Ragged.from_lists([[1, 2], []])
    assert ragged[-2].tolist() == [1, 2]
    with pytest.raises(IndexError):
        ragged[2]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=9), st.data())
def test_some_rows_and_repeats(rows: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.from_lists(rows)
    some = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    assert [row.tolist() for row in ragged.take(np.array(some, dtype=int))] == [rows[row] for row in some]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vip5.data.ragged._AT_ONCE", data.draw(st.integers(1, 10)))
        assert repeats(ragged) == sum(len(row) - len(set(row)) for row in rows)
