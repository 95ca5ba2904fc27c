"""Item-kNN: what was bought by the same people, by the cosine of co-occurrence (Sarwar et al., WWW 2001).

M. Ferrari Dacrema, P. Cremonesi, D. Jannach: Are we really making much progress?, RecSys 2019, tune it by how many
neighbours count and how much few buyers are damped.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor

from vip5.baselines.base import BaselineSettings, SimilarityRanker
from vip5.data import Dataset, Ragged
from vip5.space import Choice, Real, Space, Whole

_USERS_AT_ONCE = 1024  # 10 bits of a key
_PLACE = 2**22 - 1


class ItemKNNSettings(BaselineSettings):
    """Settings of `ItemKNN`."""

    recent: int = Field(20, ge=1)  # items of a history, the last ones, that count
    neighbours: int | None = Field(None, ge=1)  # the most similar items of each that count, and equals; none: all
    shrink: float = Field(0.0, ge=0)  # is added to the root: what few people bought is less similar

    def space(self) -> Space:
        neighbours, shrink = Choice((10, 30, 100, 300, None)), Real(0.0, 100.0)
        return {"recent": Whole(1, 50, log=True), "neighbours": neighbours, "shrink": shrink}


class ItemKNN(SimilarityRanker):
    """Items by the sum of their similarities to the most recent items of a history.

    The similarity of two items is the number of users who bought both in the training part, over the root of the
    product of how many bought each. Recommended is only what has something in common with the history.
    """

    name = "item-knn"
    source = "Sarwar et al., WWW 2001, section 3.1.1, on purchases in place of ratings"
    settings_type = ItemKNNSettings
    cold_users = True
    least = 0.0

    def __init__(self, similarity: sp.csr_array, settings: ItemKNNSettings, n_users: int = 0) -> None:
        super().__init__(settings, n_users, similarity.shape[0])
        self.similarity = similarity  # float32 [n_items, n_items], zero on the diagonal
        self.recent = settings.recent

    @classmethod
    def _fit(cls, dataset: Dataset, settings: ItemKNNSettings, folder: Path | None, device: str, quiet: bool) -> Self:
        bought = _matrix(dataset.history("train"), dataset.n_items)
        both = (bought.T @ bought).tocoo()
        root = np.sqrt(bought.sum(axis=0))
        row, column = both.coords
        data = (both.data / (root[row] * root[column] + np.float32(settings.shrink))).astype(np.float32)
        off = row != column
        similarity = sp.csr_array((data[off], (row[off], column[off])), shape=both.shape)
        if settings.neighbours is not None:
            similarity = _nearest(similarity, settings.neighbours)
        return cls(similarity, settings, dataset.n_users)

    @classmethod
    def of(
        cls, settings: ItemKNNSettings, n_users: int, n_items: int, tensors: Mapping[str, Tensor], device: str = "cpu"
    ) -> Self:
        parts = tuple(tensors[name].numpy() for name in ("data", "indices", "indptr"))
        return cls(sp.csr_array(parts, shape=(n_items, n_items)), settings, n_users)

    def tensors(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(getattr(self.similarity, name)) for name in ("data", "indices", "indptr")}

    def scores(self, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        found = np.empty((len(histories), self.n_items), dtype=np.float32)
        for start, stop, scores in self._scores(histories):
            found[start:stop] = scores.toarray()
        return found

    def similarities(self, items: np.ndarray) -> np.ndarray:
        return self.similarity[items].toarray()

    def rank(self, histories: Ragged, k: int, users: np.ndarray | None = None, *, exclude: Ragged | None) -> np.ndarray:
        """As `Ranker.rank`, without a matrix of all scores: -1 where no more items are like any of the history."""
        ranked = np.full((len(histories), k), -1, dtype=np.int32)
        for start, stop, scores in self._scores(histories):
            row = np.repeat(np.arange(stop - start), np.diff(scores.indptr))
            data = scores.data
            if exclude is not None:
                part, left_out = exclude.take(np.arange(start, stop)), np.zeros(scores.shape, dtype=bool)
                left_out[part.rows, part.values] = True
                data = np.where(left_out[row, scores.indices], 0, data)
            kept = (data > 0) & (data >= _floor(data, scores.indptr, k)[row])
            row, keys = row[kept], self._keys(data[kept], scores.indices[kept])
            keys = np.sort(row << 53 | keys)  # by user, score and place at once
            ends = np.searchsorted(row, np.arange(stop - start), side="right")
            at = np.searchsorted(row, np.arange(stop - start))[:, None] + np.arange(k)
            inside = at < ends[:, None]
            ranked[start:stop][inside] = self.drawn[keys[at[inside]] & _PLACE]
        return ranked

    def _scores(self, histories: Ragged) -> Iterator[tuple[int, int, sp.csr_array]]:
        """Users start … stop, and their scores [stop - start, n_items]."""
        n = len(histories)
        from_end = np.repeat(histories.offsets[1:], histories.lengths) - np.arange(len(histories.values))
        kept = from_end <= self.recent
        recent = Ragged.from_lengths(histories.values[kept], np.minimum(histories.lengths, self.recent))
        weights = _matrix(recent, self.n_items)
        for start in range(0, n, _USERS_AT_ONCE):
            stop = min(start + _USERS_AT_ONCE, n)
            yield start, stop, weights[start:stop] @ self.similarity

    def _keys(self, scores: np.ndarray, items: np.ndarray) -> np.ndarray:
        """int64 that rise as scores fall, and among equal ones with the place: the bits of a float from 0 sort as it.

        22 bits for the place, 31 for the score; `rank` puts 10 more before them.
        """
        bits = np.asarray(scores, np.float32).view(np.int32).astype(np.int64)
        return (2**31 - 1 - bits) << 22 | self.place[items]


def _nearest(similarity: sp.csr_array, k: int) -> sp.csr_array:
    """The k largest values of each row, and what differs from the last of them by rounding alone."""
    row, offsets = np.repeat(np.arange(similarity.shape[0]), np.diff(similarity.indptr)), similarity.indptr
    ordered = similarity.data[np.lexsort((-similarity.data, row))]
    some = np.flatnonzero(np.diff(offsets))
    least = np.zeros(similarity.shape[0], dtype=np.float32)
    least[some] = ordered[np.minimum(offsets[some] + k, offsets[some + 1]) - 1]
    kept = similarity.data >= least[row] * np.float32(1 - 1e-6)
    values, places = similarity.data[kept], (row[kept], similarity.indices[kept])
    return sp.csr_array((values, places), shape=similarity.shape)


def _floor(scores: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """float32 [n]: a score that at least k of each row's reach, so that few are left to sort.

    It is the k-th best of the best of 8 k equal parts of a row; 0 for rows with fewer scores than parts.
    """
    parts, lengths = 8 * k, np.diff(offsets).astype(np.int64)
    floor = np.zeros(len(lengths), dtype=np.float32)
    rows = np.flatnonzero(lengths >= parts)
    if len(rows):
        cuts = offsets[rows, None] + lengths[rows, None] * np.arange(parts + 1) // parts
        best = np.maximum.reduceat(np.append(scores, 0), cuts.ravel()).reshape(cuts.shape)[:, :parts]
        floor[rows] = np.partition(best, parts - k, axis=1)[:, parts - k]
    return floor


def _matrix(rows: Ragged, n_items: int) -> sp.csr_array:
    """float32 [n, n_items]: 1 where the item stands in the row, however often."""
    ones = np.ones(len(rows.values), dtype=np.float32)
    matrix = sp.csr_array((ones, rows.values, rows.offsets), shape=(len(rows), n_items), copy=True)
    matrix.sum_duplicates()  # in place, hence the copy
    matrix.data[:] = 1
    return matrix
