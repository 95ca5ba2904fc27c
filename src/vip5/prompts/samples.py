"""What fills the prompts: samples as columns, and the texts that their fields stand for."""

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import polars as pl

from vip5.data import Dataset, Ragged
from vip5.items import IMAGE, ItemCodes

SEPARATORS = (",", "->")  # between the items of a list, each a word of its own


@dataclass(frozen=True)
class Samples:
    """N samples as columns; -1 stands where a prompt has no use for a column."""

    prompt: np.ndarray  # int [N], position in the list of prompts
    user: np.ndarray  # int [N]
    item: np.ndarray  # int [N]: the answer, the item asked about, or the item explained
    items: Ragged  # int32 [N rows]: the purchase history or the candidates
    separator: np.ndarray  # int [N], position in SEPARATORS
    review: np.ndarray  # int [N], row of the reviews
    stars: np.ndarray  # int [N], the star rating in tenths
    yes: np.ndarray  # int [N], 1 for yes and 0 for no

    def __len__(self) -> int:
        return len(self.prompt)

    @classmethod
    def of(cls, prompt: np.ndarray, user: np.ndarray, items: Ragged | None = None, **columns: np.ndarray) -> "Samples":
        """Samples of which only some columns are used."""
        n = len(user)
        empty = np.full(n, -1)
        whole: dict[str, np.ndarray] = {
            "item": empty, "separator": np.zeros(n, int), "review": empty, "stars": empty, "yes": empty
        }  # fmt: skip
        if items is None:
            items = Ragged(np.empty(0, np.int32), np.zeros(n + 1, np.int64))
        return cls(np.asarray(prompt), np.asarray(user), items=items, **{**whole, **columns})

    def take(self, rows: np.ndarray) -> "Samples":
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return replace(self, items=self.items.take(rows), **columns)

    @staticmethod
    def join(parts: list["Samples"]) -> "Samples":
        columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _COLUMNS}
        lengths = np.concatenate([p.items.lengths for p in parts])
        values = np.concatenate([p.items.values for p in parts])
        return Samples(items=Ragged(values, np.concatenate([[0], np.cumsum(lengths)])), **columns)


_COLUMNS = ("prompt", "user", "item", "separator", "review", "stars", "yes")


def slices(starts: np.ndarray, lengths: np.ndarray, step: int = 1) -> np.ndarray:
    """The positions starts[0], starts[0] + step, … of every slice of so many, one slice after the other."""
    ends = lengths.cumsum()
    places = np.arange(0, step * int(ends[-1]) if len(ends) else 0, step)
    places += np.repeat(starts - step * (ends - lengths), lengths)
    return places


class FieldTexts:
    """The text of each field for every user, item and review."""

    def __init__(
        self,
        dataset: Dataset,
        codes: ItemCodes,
        image_tokens: int,
        user_tokens: bool = False,
        reviews: pl.DataFrame | None = None,
    ):
        self.dataset, self.codes = dataset, codes
        self.image_tokens, self.user_tokens = image_tokens, user_tokens
        self.reviews = dataset.reviews if reviews is None else reviews

    def column(self, field: str) -> list[str]:
        """One text a row; the row is the sample's column `ROW_OF[field]`."""
        return self._columns[field]()

    @cached_property
    def _columns(self):
        users = self.dataset.users
        if self.user_tokens:
            own = [f"<user_{n}>" for n in range(len(users))]
            return self._of_items | {"user_id": lambda: own, "user_desc": lambda: own}
        return self._of_items | {
            "user_id": cache(lambda: [str(n) for n in range(1, len(users) + 1)]),
            "user_desc": cache(lambda: self._plain(users["name"].fill_null(users["user"]))),
        }

    @cached_property
    def _of_items(self):
        items = self.dataset.items
        return {
            "item_id": lambda: self.codes.words,
            "item_title": cache(lambda: self._plain(items["title"].fill_null(items["item"]))),
            "star_rating": cache(lambda: [f"{n / 10:g}" for n in range(101)]),
            "review_headline": cache(lambda: self._plain(self.reviews["headline"])),
            "feature": cache(lambda: self._plain(self.reviews["feature"])),
            "explanation": cache(lambda: self._plain(self.reviews["explanation"])),
            "yes_no": lambda: ["no", "yes"],
            "item_photo": cache(lambda: [self.photo] * len(items)),
        }

    def _plain(self, column: pl.Series) -> list[str]:
        return [self.codes.vocabulary.plain(text or "") for text in column]

    @cached_property
    def photo(self) -> str:
        return " ".join([IMAGE] * self.image_tokens)

    def item(self, item: int) -> str:
        """The multimodal field of an item: its code, then its image tokens (paper, section 3.1)."""
        return f"{self.codes.words[item]} {self.photo}".strip()

    def with_reviews(self, reviews: pl.DataFrame) -> "FieldTexts":
        return FieldTexts(self.dataset, self.codes, self.image_tokens, self.user_tokens, reviews)


ROW_OF = {
    "user_id": "user",
    "user_desc": "user",
    "item_id": "item",
    "item_title": "item",
    "item_photo": "item",
    "star_rating": "stars",
    "review_headline": "review",
    "feature": "review",
    "explanation": "review",
    "yes_no": "yes",
}
