"""Rules that write what was written before: the most frequent sentence of the training part, or that of a neighbour."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor

from vip5.baselines.base import BaselineSettings, Writer
from vip5.baselines.writing import as_bytes, of_bytes
from vip5.data import Dataset
from vip5.errors import UserError
from vip5.prompts.reviews import explainable

_SCORES = 6_000_000  # at once


class FrequentSentence(Writer):
    """The sentence that was written most, for everybody; the first in the alphabet of equals."""

    name = "frequent-sentence"
    source = "counts of the training part"
    cold_users = True

    def __init__(self, sentence: str, settings: BaselineSettings, n_users: int, n_items: int) -> None:
        super().__init__(settings, n_users, n_items)
        self.sentence = sentence

    @classmethod
    def _fit(cls, dataset: Dataset, settings: BaselineSettings, folder: Path | None, device: str, quiet: bool) -> Self:
        sentence = most_frequent_sentence(dataset.reviews)
        if sentence is None:
            raise UserError(f"{cls.name} copies explanations, and the training part of {dataset.path} has none")
        return cls(sentence, settings, dataset.n_users, dataset.n_items)

    @classmethod
    def of(
        cls, settings: BaselineSettings, n_users: int, n_items: int, tensors: Mapping[str, Tensor], device: str = "cpu"
    ) -> Self:
        return cls(of_bytes(tensors["sentence"])[0], settings, n_users, n_items)

    def tensors(self) -> dict[str, Tensor]:
        return {"sentence": as_bytes([self.sentence])}

    def write(self, reviews: pl.DataFrame) -> list[str]:
        return [self.sentence] * len(reviews)


class NeighbourSettings(BaselineSettings):
    """Settings of `NeighbourSentence`."""

    by_rating: float = Field(1.0, ge=0)  # what the whole range of ratings weighs


class NeighbourSentence(Writer):
    """The sentence of the most similar training review.

    Two reviews are as similar as their users and their items are, and the less, the more their ratings differ:

        cos(u, u') + cos(i, i') - by_rating · |r - r'| / (the range of training ratings)

    Users are compared by what they bought in training, items by who bought them; the same one is as similar as can be,
    1, and one without purchases, or not known, is like nobody, 0. A rating that is missing is half the range away from
    any. Of equals the sentence written most stands first, then the alphabet: so of a stranger's unknown item the most
    frequent sentence of the nearest rating is said.
    """

    name = "neighbour-sentence"
    source = "the sentence of the nearest training review, by user, item and rating"
    settings_type = NeighbourSettings

    def __init__(
        self, reviews: pl.DataFrame, bought: sp.csr_array, settings: NeighbourSettings, n_users: int, n_items: int
    ) -> None:
        super().__init__(settings, n_users, n_items)
        self.reviews = reviews  # user, item, rating, explanation, what is said most first
        self.bought = bought  # float32 [n_users, n_items] of 1
        self.users, self.items = _unit_rows(bought), _unit_rows(bought.T)

    @classmethod
    def _fit(cls, dataset: Dataset, settings: NeighbourSettings, folder: Path | None, device: str, quiet: bool) -> Self:
        reviews = explainable(dataset, "train").select("user", "item", "rating", "explanation")
        if not len(reviews):
            raise UserError(f"{cls.name} copies explanations, and the training part of {dataset.path} has none")
        often = pl.len().over("explanation")
        by = [often, pl.col("explanation"), pl.col("user"), pl.col("item")]
        reviews = reviews.sort(by, descending=[True, False, False, False], maintain_order=True)
        pairs = np.unique(dataset.history("train").rows * dataset.n_items + dataset.history("train").values)
        bought = _matrix(pairs, dataset.n_users, dataset.n_items)
        return cls(reviews, bought, settings, dataset.n_users, dataset.n_items)

    @classmethod
    def of(
        cls, settings: NeighbourSettings, n_users: int, n_items: int, tensors: Mapping[str, Tensor], device: str = "cpu"
    ) -> Self:
        columns = {name: tensors[name].numpy() for name in ("user", "item", "rating")}
        reviews = pl.DataFrame(columns | {"explanation": of_bytes(tensors["explanation"])})
        reviews = reviews.with_columns(pl.col("rating").fill_nan(None))
        return cls(reviews, _matrix(tensors["pairs"].numpy(), n_users, n_items), settings, n_users, n_items)

    def tensors(self) -> dict[str, Tensor]:
        columns = {name: self.reviews[name].to_numpy() for name in ("user", "item")}
        columns["rating"] = _ratings(self.reviews)
        rows, items = self.bought.nonzero()
        columns["pairs"] = rows.astype(np.int64) * self.n_items + items
        found = {name: torch.from_numpy(column.copy()) for name, column in columns.items()}
        return found | {"explanation": as_bytes(self.reviews["explanation"].to_list())}

    def write(self, reviews: pl.DataFrame) -> list[str]:
        nearest, at_once = np.empty(len(reviews), dtype=np.int64), max(1, _SCORES // len(self.reviews))
        for start in range(0, len(reviews), at_once):
            nearest[start : start + at_once] = self._similarity(reviews[start : start + at_once]).argmax(axis=1)
        return self.reviews["explanation"].gather(nearest).to_list()

    def _similarity(self, asked: pl.DataFrame) -> np.ndarray:
        """float32 [n, training reviews]."""
        found = _cosines(self.users, asked["user"].to_numpy())[:, self.reviews["user"].to_numpy()]
        found += _cosines(self.items, asked["item"].to_numpy())[:, self.reviews["item"].to_numpy()]
        theirs, ours = _ratings(self.reviews), _ratings(asked)
        there = theirs[~np.isnan(theirs)]
        reach = float(np.ptp(there)) if len(there) else 0.0
        away = np.abs(ours[:, None] - theirs) / (reach or 1.0)
        found -= self.settings.by_rating * np.nan_to_num(away, nan=0.5)
        return found.round(5)  # equals are equal, however their sums were rounded


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


def _ratings(reviews: pl.DataFrame) -> np.ndarray:
    """float32, NaN where there is none."""
    return reviews["rating"].cast(pl.Float32).fill_null(float("nan")).to_numpy()


def _matrix(pairs: np.ndarray, n_users: int, n_items: int) -> sp.csr_array:
    ones = np.ones(len(pairs), dtype=np.float32)
    return sp.csr_array((ones, (pairs // n_items, pairs % n_items)), shape=(n_users, n_items))


def _unit_rows(matrix: sp.sparray) -> sp.csr_array:
    rows = sp.csr_array(matrix)
    length = np.sqrt(rows.multiply(rows).sum(axis=1))
    return sp.csr_array(rows.multiply(1 / np.maximum(length, 1e-12)[:, None]))


def _cosines(unit: sp.csr_array, asked: np.ndarray) -> np.ndarray:
    """float32 [n, all]: the cosine of each row asked for, none (-1) among them, with every row."""
    found = (unit[np.maximum(asked, 0)] @ unit.T).toarray()
    found[asked < 0] = 0
    return found
