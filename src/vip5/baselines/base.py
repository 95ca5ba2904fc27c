"""What every system that a model is compared with can do: be fitted, score, rank, be saved and opened again."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from vip5.data import Dataset, Ragged
from vip5.errors import UserError, first_fault
from vip5.space import Space

_SCORES = 6_000_000  # at once: what a few buffers of a block of users may take
KNOW_SIMILAR = ("item-knn", "bpr-mf", "bpr-mlp", "lightgcn", "vbpr", "hgn", "sasrec", "bsarec", "s3-rec")


class BaselineSettings(BaseModel):
    """What decides, with a data set, what a system becomes. A system with more settings adds fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=2**32)  # of everything random, the order of equally good items too

    def space(self) -> Space:
        """What a search tries where these settings stand, the defaults among it; nothing: there is nothing to tune."""
        return {}


class Baseline(ABC):
    """A fitted system. It is made by `fit` from a data set, or by `of` from what it saved as `tensors`.

    What it can do is said by its kind, `Ranker` or `Writer`, and by flags:

    cold_users     people it was not fitted on are answered by their history; others know them as the average person
    cold_items     items that nobody had in training are told apart
    knows_similar  `similar` answers

    A system defines `_fit`, `of` and `tensors`, and what its kind asks for.
    """

    name: ClassVar[str]  # as in `vip5 baseline NAME`
    source: ClassVar[str]
    settings_type: ClassVar[type[BaselineSettings]] = BaselineSettings
    cold_users: ClassVar[bool] = False
    cold_items: ClassVar[bool] = False
    knows_similar: ClassVar[bool] = False

    settings: Any  # of settings_type

    def __init__(self, settings: BaselineSettings, n_users: int, n_items: int) -> None:
        self.settings, self.n_users, self.n_items = settings, n_users, n_items

    @classmethod
    def fit(
        cls, dataset: Dataset, folder: Path | None = None, device: str = "cpu", quiet: bool = True, **settings: Any
    ) -> Self:
        """Fit on the training part; validation items alone decide when to stop, and test items nothing.

        A system that is trained in epochs keeps its state in `folder`, goes on from one that is there, works on
        `device`, and shows a bar unless `quiet`. `settings` are those of `settings_type`.

        Raises: UserError for settings that do not exist or are out of range.
        """
        return cls._fit(dataset, cls.check(settings), folder, device, quiet)

    @property
    def summary(self) -> dict[str, Any]:
        """What its fitting has to tell: epochs, the validation's score."""
        return {}

    @classmethod
    @abstractmethod
    def _fit(cls, dataset: Dataset, settings: Any, folder: Path | None, device: str, quiet: bool) -> Self:
        """`fit`, with settings that were checked."""

    @classmethod
    @abstractmethod
    def of(cls, settings: Any, n_users: int, n_items: int, tensors: Mapping[str, Tensor], device: str = "cpu") -> Self:
        """The system that had these `tensors`."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All that was fitted, on the CPU."""

    def similar(self, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k items most similar to each of `items`, int [n], without itself.

        Items, int32 [n, k], the most similar first, and how similar they are, float32 [n, k]; -1 and 0 where no more
        are known. Equals stand in the order drawn by the seed.

        Raises: UserError by a system without `knows_similar`.
        """
        known = ", ".join(KNOW_SIMILAR)
        raise UserError(f"{self.name} does not know which items are similar: ask one of {known}")

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> Any:
        """Settings of `settings_type`; UserError where one is unknown or out of range."""
        try:
            return cls.settings_type.model_validate(settings)
        except ValidationError as error:
            key, message, unknown = first_fault(error)
            if unknown:
                message = f"no such setting; there are {', '.join(cls.settings_type.model_fields)}"
            raise UserError(f"settings of {cls.name}{f': {key}' if key else ''}: {message}") from None


class Ranker(Baseline):
    """A system that orders items, the whole catalogue or given candidates. It defines `scores`.

    It is asked for n users: `histories` are what they bought, oldest first, `users` their rows in the data set that the
    system was fitted on, -1 (or no `users` at all) for people it does not know.
    """

    least: ClassVar[float] = -np.inf  # items that score no higher are not recommended

    @abstractmethod
    def scores(self, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        """float32 [n, n_items]: higher is better, the items of the history among them."""

    def scores_of(self, candidates: np.ndarray, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        """float32 [n, C]: the scores of each user's candidates, int [n, C]."""
        found = np.empty(candidates.shape, dtype=np.float32)
        for rows in self._blocks(histories):
            scores = self.scores(histories.take(rows), None if users is None else users[rows])
            found[rows] = np.take_along_axis(scores, candidates[rows], axis=1)
        return found

    def rank(self, histories: Ragged, k: int, users: np.ndarray | None = None, *, exclude: Ragged | None) -> np.ndarray:
        """The k best items for each user: int32 [n, k], best first, -1 where they run out.

        `exclude`: items that are left out of each row, as the histories where people seldom buy a thing again; None:
        nothing is.

        Equally good items stand in an order drawn once by the seed, the same for all users: neither for nor against
        the system, in expectation, and free of what the numbering of items may give away.
        """
        ranked = np.full((len(histories), k), -1, dtype=np.int32)
        for rows in self._blocks(histories):
            scores = self.scores(histories.take(rows), None if users is None else users[rows])
            if exclude is not None:
                out = exclude.take(rows)
                scores[out.rows, out.values] = -np.inf
            ranked[rows] = self._best(scores, k)
        return ranked

    def rank_candidates(self, candidates: np.ndarray, histories: Ragged, users: np.ndarray | None = None) -> np.ndarray:
        """Each row of item indices [n, C] with the best first; ties as in `rank`."""
        scores = self.scores_of(candidates, histories, users)
        order = np.lexsort((self.place[candidates], -scores), axis=1)
        return np.take_along_axis(candidates, order, axis=1)

    @cached_property
    def drawn(self) -> np.ndarray:
        """int32 [n_items]: all items in the order that breaks ties."""
        return np.random.default_rng(self.settings.seed).permutation(self.n_items).astype(np.int32)

    @cached_property
    def place(self) -> np.ndarray:
        """int64 [n_items]: where each item stands in `drawn`."""
        return np.argsort(self.drawn)

    def _blocks(self, histories: Ragged) -> Iterator[np.ndarray]:
        """The rows in parts whose scores fit, those of like length together."""
        order = np.argsort(histories.lengths, kind="stable")
        at_once = max(1, _SCORES // self.n_items)
        return (order[start : start + at_once] for start in range(0, len(order), at_once))

    def _best(self, scores: np.ndarray, k: int) -> np.ndarray:
        """int32 [n, k]: the best items of rows of scores [n, n_items]."""
        k_there = min(k, self.n_items)
        kth = torch.topk(torch.from_numpy(scores), k_there).values[:, -1:].numpy()
        row, item = np.nonzero((scores >= kth) & (scores > self.least))  # k, and what is as good as the last of them
        order = np.lexsort((self.place[item], -scores[row, item], row))
        row, item = row[order], item[order]
        number = np.arange(len(row)) - np.searchsorted(row, row)
        best = np.full((len(scores), k), -1, dtype=np.int32)
        inside = number < k
        best[row[inside], number[inside]] = item[inside]
        return best


class SimilarityRanker(Ranker):
    """A ranker that knows how similar items are. It defines `similarities`."""

    knows_similar = True

    @abstractmethod
    def similarities(self, items: np.ndarray) -> np.ndarray:
        """float32 [n, n_items]: how similar each item is to those asked for, int [n]."""

    def similar(self, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        found = np.full((len(items), k), -1, dtype=np.int32)
        values = np.zeros((len(items), k), dtype=np.float32)
        at_once = max(1, _SCORES // self.n_items)
        for start in range(0, len(items), at_once):
            asked = items[start : start + at_once]
            scores = self.similarities(asked)
            scores[np.arange(len(asked)), asked] = -np.inf
            best = found[start : start + at_once] = self._best(scores, k)
            there = best >= 0
            values[start : start + at_once][there] = np.take_along_axis(scores, best.clip(min=0), axis=1)[there]
        return found, values


class Writer(Baseline):
    """A system that writes a sentence on why a user would take an item."""

    feature_word: ClassVar[bool] = False  # it is told the word that the sentence is about, as prompt C-12 tells it

    @abstractmethod
    def write(self, reviews: pl.DataFrame) -> list[str]:
        """A sentence for each row of `reviews`: `user` and `item` (rows of the data set that it was fitted on, -1 for
        people and items it does not know), `rating`, `feature`. Nothing else of a review is read."""


def users_or_nobody(users: np.ndarray | None, n: int) -> np.ndarray:
    """int64 [n]: the users, -1 where they are not known."""
    return np.full(n, -1) if users is None else np.asarray(users, dtype=np.int64)
