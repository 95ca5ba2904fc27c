"""Rows of different lengths in one array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.data import Ragged


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
