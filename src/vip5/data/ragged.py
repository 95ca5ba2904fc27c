"""Rows of different lengths in one flat array: what a user's history is, without a Python list per user."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

_AT_ONCE = 2**16  # rows


@dataclass(frozen=True)
class Ragged:
    """n rows; row i is `values[offsets[i]:offsets[i + 1]]`.

    values: [total], any dtype. offsets: int64 [n + 1], from 0 to total, never falling.
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence | np.ndarray], dtype: DTypeLike = np.int32) -> "Ragged":
        """One row for each sequence of `rows`."""
        values = np.concatenate([np.asarray(row, dtype=dtype) for row in rows] or [np.empty(0, dtype=dtype)])
        return cls.from_lengths(values, np.fromiter((len(row) for row in rows), np.int64, len(rows)))

    @classmethod
    def from_lengths(cls, values: np.ndarray, lengths: np.ndarray) -> "Ragged":
        """Rows of the given lengths, int [n], one after the other in `values`."""
        return cls(values, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64))

    @classmethod
    def join(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """The rows of all parts, one part after the other."""
        values, lengths = ([part.values for part in parts], [part.lengths for part in parts])
        return cls.from_lengths(np.concatenate(values), np.concatenate(lengths))

    def last(self, n: int) -> "Ragged":
        """The last n values of each row, or all there are."""
        lengths = np.minimum(self.lengths, n)
        after = np.repeat(self.offsets[1:], self.lengths) - np.arange(len(self.values))  # 1 at a row's last value
        return Ragged.from_lengths(self.values[after <= n], lengths)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """The row as a view of `values`; IndexError past the ends, negative rows count from the last."""
        row = range(len(self))[row]
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def take(self, rows: np.ndarray) -> "Ragged":
        """Some rows, int [m], in the given order."""
        rows = np.asarray(rows, dtype=np.int64)
        if not len(self.values):  # as a column of samples that has no use for it
            return Ragged(self.values, np.zeros(len(rows) + 1, np.int64))
        starts = self.offsets[rows]
        taken = Ragged.from_lengths(self.values, self.offsets[rows + 1] - starts)
        places = np.arange(taken.offsets[-1]) + (starts - taken.offsets[:-1])[taken.rows]
        return Ragged(self.values[places], taken.offsets)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [n]: how long each row is."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> np.ndarray:
        """int64 [total]: the row that each value stands in."""
        return np.repeat(np.arange(len(self)), self.lengths)


def repeats(ragged: Ragged) -> int:
    """How many values, int32, stand in their row before already."""
    count = 0
    for start in range(0, len(ragged), _AT_ONCE):
        part = ragged.take(np.arange(start, min(start + _AT_ONCE, len(ragged))))
        keys = np.sort(part.rows << 32 | part.values)
        count += int((keys[1:] == keys[:-1]).sum())
    return count
