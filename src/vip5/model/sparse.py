"""Sparse matrices of items: what follows what and what goes with what in the training part, and the words of each."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from torch import Tensor

from vip5.data import Ragged
from vip5.modalities.words import words_in

Csr = tuple[Tensor, Tensor, Tensor]  # where each row starts int64, columns int64, values float32
_NEIGHBOURS = 200  # of an item that the transitions keep, the most likely ones
_DAMPING = 2.0  # is added to the root
_UNSURE = 10.0  # an item that was taken so often says half of what it says when it is taken very often
_ROWS = 4096  # of the transitions, multiplied at once


def transitions(history: Ragged, n_items: int) -> Csr:
    """How likely each item is to follow each other one, [n_items, n_items]; rows of what is taken often sum to about 1.

    Taken next counts 1, next but one a half, and backwards half of that. Columns are damped by popularity^-.3, and
    three tenths of what two steps give are added to one. Rows of items that few people took weigh less.
    """
    counts = sp.csr_array((n_items, n_items), dtype=np.float32)
    for gap, weight in ((1, 1.0), (2, 0.5)):
        first, second = history.values[:-gap], history.values[gap:]
        pair = (history.rows[gap:] == history.rows[:-gap]) & (first != second)
        weights = np.full(int(pair.sum()), weight, np.float32)
        step = sp.coo_array((weights, (first[pair], second[pair])), shape=(n_items, n_items)).tocsr()
        counts = counts + step + 0.5 * step.T
    popularity = np.asarray(counts.sum(axis=0)) + 1.0
    once = _shares(sp.csr_array(counts @ sp.diags_array(popularity**-0.3)))
    taken = np.bincount(history.values, minlength=n_items)
    sure = sp.csr_array(sp.diags_array(taken / (taken + _UNSURE)) @ once)
    blocks = (sure[at : at + _ROWS] for at in range(0, n_items, _ROWS))
    return tensors(sp.csr_array(sp.vstack([_largest(sp.csr_array(rows + 0.3 * (rows @ once))) for rows in blocks])))


def taken_together(history: Ragged, n_items: int) -> Csr:
    """How many people took both of two items, over the root of the product of how many took each: [n_items, n_items].

    The cosine of item-kNN (Sarwar et al. 2001), damped: what few people took is less sure.
    """
    ones = np.ones(len(history.values), np.float32)
    took = sp.csr_array((ones, history.values.copy(), history.offsets.copy()), shape=(len(history), n_items))
    took.sum_duplicates()  # in place
    took.data[:] = 1
    both = sp.csr_array(took.T @ took).tocoo()
    each = np.sqrt(np.asarray(took.sum(axis=0)))
    row, column = both.coords
    value = (both.data / (each[row] * each[column] + _DAMPING)).astype(np.float32)
    off = row != column
    return tensors(_largest(sp.csr_array((value[off], (row[off], column[off])), shape=both.shape)))


def word_vectors(texts: Sequence[str]) -> Csr:
    """TF-IDF of each text, [texts, words]: each word counts once in it; rows of unit length, or of nothing."""
    found = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)}).select(words_in(pl.col("text")).alias("word"))
    found = found.with_row_index("row").explode("word").drop_nulls().unique(maintain_order=True)
    row, column = (x.to_numpy().astype(np.int64) for x in (found["row"], found["word"].rank("dense") - 1))
    frequency = np.bincount(column)
    rare = np.log(len(texts) / frequency)[column].astype(np.float32) if len(column) else np.zeros(0, np.float32)
    matrix = sp.csr_array((rare, (row, column)), shape=(len(texts), max(1, len(frequency))))
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return tensors(sp.csr_array(sp.diags_array(1 / np.where(length > 0, length, 1)) @ matrix))


def sum_of_rows(csr: Csr, shape: tuple[int, int], to_N: Tensor, row_N: Tensor, weight_N: Tensor) -> Tensor:
    """Rows `row_N` of a matrix, times weights, each added to row `to_N` of the result: dense, of this shape."""
    start, column, value = csr
    length_N = start[row_N + 1] - start[row_N]
    first_N = length_N.cumsum(0) - length_N
    place = torch.arange(int(length_N.sum()), device=row_N.device)
    place += (start[row_N] - first_N).repeat_interleave(length_N)
    at = to_N.repeat_interleave(length_N) * shape[1] + column[place]
    flat = torch.zeros(shape[0] * shape[1], device=value.device)
    return flat.index_add_(0, at, value[place] * weight_N.repeat_interleave(length_N)).view(shape)


def tensors(matrix: sp.csr_array) -> Csr:
    start, column = (torch.from_numpy(x.astype(np.int64)) for x in (matrix.indptr, matrix.indices))
    return start, column, torch.from_numpy(matrix.data.astype(np.float32))


def _shares(matrix: sp.csr_array) -> sp.csr_array:
    """Rows that sum to 1, or hold nothing."""
    total = np.asarray(matrix.sum(axis=1))
    return sp.csr_array(sp.diags_array(1 / np.where(total > 0, total, 1)) @ matrix)


def _largest(matrix: sp.csr_array) -> sp.csr_array:
    """The largest values of each row."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, row))
    kept = np.sort(order[np.arange(len(order)) - matrix.indptr[row] < _NEIGHBOURS])
    starts = np.append(0, np.bincount(row[kept], minlength=matrix.shape[0]).cumsum())
    return sp.csr_array((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)
