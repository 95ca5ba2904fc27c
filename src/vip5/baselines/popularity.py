"""Popularity: what is bought most, for everyone."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vip5.baselines.base import BaselineSettings, Ranker
from vip5.data import Dataset, Ragged

_USERS_AT_ONCE = 1024


class Popularity(Ranker):
    """Items by how often they were bought in the training part, the same for everyone.

    Items bought equally often stand in an order drawn once by the seed. (Broken against popularity, ties would flatter
    the model that is compared with it.)
    """

    name = "popularity"
    source = "counts of the training part"
    cold_users = True

    def __init__(self, counts: np.ndarray, settings: BaselineSettings | None = None, n_users: int = 0) -> None:
        super().__init__(settings or BaselineSettings(), n_users, len(counts))
        self.counts = np.asarray(counts)  # int [n_items]
        self.order = self.drawn[np.argsort(-self.counts[self.drawn], kind="stable")]  # items, best first
        self._rank_of = np.argsort(self.order)  # each item's place in `order`

    @classmethod
    def _fit(
        cls, dataset: Dataset, settings: BaselineSettings, folder: Path | None, device: str, quiet: bool
    ) -> "Popularity":
        counts = np.bincount(dataset.history("train").values, minlength=dataset.n_items)
        return cls(counts, settings, dataset.n_users)

    @classmethod
    def of(
        cls, settings: BaselineSettings, n_users: int, n_items: int, tensors: Mapping[str, Tensor], device: str = "cpu"
    ) -> "Popularity":
        return cls(tensors["counts"].numpy(), settings, n_users)

    def tensors(self) -> dict[str, Tensor]:
        return {"counts": torch.from_numpy(self.counts)}

    def scores(self, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        """float32 [n, n_items]: the counts, which are exact up to 2^24."""
        return np.tile(self.counts.astype(np.float32), (len(histories), 1))

    def rank(self, histories: Ragged, k: int, users: np.ndarray | None = None, *, exclude: Ragged | None) -> np.ndarray:
        """As `Ranker.rank`, without sorting: who asks, and of what history, does not matter."""
        ranked = np.full((len(histories), k), -1, dtype=np.int32)
        if exclude is None:
            ranked[:, : len(self.order)] = self.order[:k]
            return ranked
        places, offsets, lengths = self._rank_of[exclude.values], exclude.offsets, exclude.lengths
        for start in range(0, len(histories), _USERS_AT_ONCE):
            stop = min(start + _USERS_AT_ONCE, len(histories))
            reach = min(len(self.order), k + int(lengths[start:stop].max()))
            known = places[offsets[start] : offsets[stop]]
            user = np.repeat(np.arange(stop - start), lengths[start:stop])
            free = np.ones((stop - start, reach), dtype=bool)
            free[user[known < reach], known[known < reach]] = False
            number = np.cumsum(free, axis=1) - 1
            row, place = np.nonzero(free & (number < k))
            ranked[start + row, number[row, place]] = self.order[place]
        return ranked

    def rank_candidates(
        self, candidates: np.ndarray, histories: Ragged | None = None, users: np.ndarray | None = None
    ) -> np.ndarray:
        """Each row of item indices [n, C] with the most popular first; who asks does not matter."""
        by_place = np.argsort(self._rank_of[candidates], axis=1)
        return np.take_along_axis(candidates, by_place, axis=1)
