"""Item-kNN: what was bought by the same people, by the cosine of co-occurrence (Sarwar et al., WWW 2001)."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from vip5.data import Dataset, Ragged

_USERS_AT_ONCE = 1024  # 10 bits of a key
_PLACE = 2**22 - 1


class ItemKNN:
    """Items by the sum of their similarities to the most recent items of a history.

    The similarity of two items is the number of users who bought both in the training part, over the root of the
    product of how many bought each. Ties fall in an order drawn once by `seed`, as in `Popularity`.
    """

    def __init__(self, similarity: sp.csr_array, recent: int = 20, seed: int = 0):
        self.similarity, self.recent = similarity, recent  # float32 [n_items, n_items], zero on the diagonal
        self._item = np.random.default_rng(seed).permutation(similarity.shape[0]).astype(np.int32)  # by place
        self._place = np.argsort(self._item).astype(np.int64)

    @classmethod
    def fit(cls, dataset: Dataset, recent: int = 20, seed: int = 0) -> "ItemKNN":
        """Count who bought what in the training part of the data set, and nowhere else."""
        bought = _matrix(dataset.history("train"), dataset.n_items)
        both = (bought.T @ bought).tocoo()
        root = np.sqrt(bought.sum(axis=0))
        row, column = both.coords
        data = (both.data / (root[row] * root[column])).astype(np.float32)
        off = row != column
        return cls(sp.csr_array((data[off], (row[off], column[off])), shape=both.shape), recent, seed)

    def rank(self, histories: Ragged, k: int) -> np.ndarray:
        """The k items most similar to each user's history and outside it: int32 [n, k], best first.

        -1 where no more items have anything in common with the history.
        """
        ranked = np.full((len(histories), k), -1, dtype=np.int32)
        for start, stop, scores in self._scores(histories):
            row = np.repeat(np.arange(stop - start), np.diff(scores.indptr))
            known = np.zeros((stop - start, len(self._item)), dtype=bool)
            part = slice(histories.offsets[start], histories.offsets[stop])
            known[histories.rows[part] - start, histories.values[part]] = True
            data = np.where(known[row, scores.indices], 0, scores.data)
            kept = (data > 0) & (data >= _floor(data, scores.indptr, k)[row])
            row, keys = row[kept], self._keys(data[kept], scores.indices[kept])
            keys = np.sort(row << 53 | keys)  # by user, score and place at once
            ends = np.searchsorted(row, np.arange(stop - start), side="right")
            at = np.searchsorted(row, np.arange(stop - start))[:, None] + np.arange(k)
            inside = at < ends[:, None]
            ranked[start:stop][inside] = self._item[keys[at[inside]] & _PLACE]
        return ranked

    def rank_candidates(self, candidates: np.ndarray, histories: Ragged) -> np.ndarray:
        """Each row of item indices [n, C] with the most similar to the user's history first."""
        keys = np.empty(candidates.shape, dtype=np.int64)
        for start, stop, scores in self._scores(histories):
            part = candidates[start:stop]
            keys[start:stop] = self._keys(np.take_along_axis(scores.toarray(), part, axis=1), part)
        return np.take_along_axis(candidates, np.argsort(keys, axis=1), axis=1)

    def _scores(self, histories: Ragged) -> Iterator[tuple[int, int, sp.csr_array]]:
        """Users start … stop, and their scores [stop - start, n_items]."""
        n = len(histories)
        from_end = np.repeat(histories.offsets[1:], histories.lengths) - np.arange(len(histories.values))
        kept = from_end <= self.recent
        recent = Ragged.from_lengths(histories.values[kept], np.minimum(histories.lengths, self.recent))
        weights = _matrix(recent, len(self._item))
        for start in range(0, n, _USERS_AT_ONCE):
            stop = min(start + _USERS_AT_ONCE, n)
            yield start, stop, weights[start:stop] @ self.similarity

    def _keys(self, scores: np.ndarray, items: np.ndarray) -> np.ndarray:
        """int64 that rise as scores fall, and among equal ones with the place: the bits of a float from 0 sort as it.

        22 bits for the place, 31 for the score; `rank` puts 10 more before them.
        """
        bits = np.asarray(scores, np.float32).view(np.int32).astype(np.int64)
        return (2**31 - 1 - bits) << 22 | self._place[items]


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
