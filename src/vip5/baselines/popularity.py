"""Popularity: what is bought most, for everyone; and, for explanations, the sentence written most."""

import numpy as np
import polars as pl

from vip5.data import Dataset, Ragged

_USERS_AT_ONCE = 1024


class Popularity:
    """Items by how often they were bought in the training part.

    Items bought equally often stand in an order drawn once by `seed`, the same for all users: neither for nor against
    the baseline, in expectation, and free of what the numbering of items may give away. (Broken against it, ties would
    flatter the model that is compared with it.)
    """

    def __init__(self, counts: np.ndarray, seed: int = 0):
        self.counts = np.asarray(counts)  # int [n_items]
        shuffled = np.random.default_rng(seed).permutation(len(self.counts))
        self.order = shuffled[np.argsort(-self.counts[shuffled], kind="stable")].astype(np.int32)  # items, best first
        self.place = np.empty(len(self.order), dtype=np.int32)  # of each item in `order`
        self.place[self.order] = np.arange(len(self.order), dtype=np.int32)

    @classmethod
    def fit(cls, dataset: Dataset, seed: int = 0) -> "Popularity":
        """Count purchases in the training part of the data set, and nowhere else."""
        return cls(np.bincount(dataset.history("train").values, minlength=dataset.n_items), seed)

    def rank(self, histories: Ragged, k: int) -> np.ndarray:
        """The k most popular items outside each user's history: int32 [n, k], best first, -1 where they run out."""
        ranked = np.full((len(histories), k), -1, dtype=np.int32)
        places, offsets = self.place[histories.values], histories.offsets
        lengths = np.diff(offsets)
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

    def rank_candidates(self, candidates: np.ndarray) -> np.ndarray:
        """Each row of item indices [n, C] with the most popular first."""
        by_place = np.argsort(self.place[candidates], axis=1, kind="stable")
        return np.take_along_axis(candidates, by_place, axis=1)


def most_frequent_sentence(reviews: pl.DataFrame) -> str | None:
    """The explanation that stands most often in the training part of `reviews`; the first in the alphabet of equals.

    `None` where no training review has an explanation.
    """
    counted = (
        reviews.filter((pl.col("split") == "train") & pl.col("explanation").is_not_null())
        .group_by("explanation")
        .len()
        .sort(["len", "explanation"], descending=[True, False])
    )
    return counted["explanation"][0] if len(counted) else None
