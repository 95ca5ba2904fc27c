"""What fills the prompts: samples as columns, and the texts that their fields stand for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from vip5.data import Ragged
from vip5.data.catalogue import Catalogue
from vip5.items import IMAGE, ItemCodes

SEPARATORS = (",", "->")  # between the items of a list, each a word of its own


@dataclass(frozen=True)
class Samples:
    """N samples as columns; -1 stands where a prompt has no use for a column."""

    prompt: np.ndarray  # int [N], position in the list of prompts
    user: np.ndarray  # int [N], -1 for people who are not known
    item: np.ndarray  # int [N]: the answer, the item asked about, or the item explained
    history: Ragged  # int32 [N rows]: what the user had before
    candidates: Ragged  # int32 [N rows]: of which one is right
    then: Ragged  # int32 [N rows]: items that the decoder writes one after the other, in place of the prompt's target
    separator: np.ndarray  # int [N], position in SEPARATORS
    review: np.ndarray  # int [N], row of the reviews
    stars: np.ndarray  # int [N], the star rating in tenths
    yes: np.ndarray  # int [N], 1 for yes and 0 for no

    def __len__(self) -> int:
        return len(self.prompt)

    @classmethod
    def of(
        cls,
        prompt: np.ndarray,
        user: np.ndarray,
        history: Ragged | None = None,
        candidates: Ragged | None = None,
        then: Ragged | None = None,
        **columns: np.ndarray,
    ) -> "Samples":
        """Samples of which only some columns are used."""
        n = len(user)
        empty = np.full(n, -1)
        whole: dict[str, np.ndarray] = {
            "item": empty, "separator": np.zeros(n, int), "review": empty, "stars": empty, "yes": empty
        }  # fmt: skip
        nothing = Ragged(np.empty(0, np.int32), np.zeros(n + 1, np.int64))
        return cls(
            np.asarray(prompt),
            np.asarray(user),
            history=nothing if history is None else history,
            candidates=nothing if candidates is None else candidates,
            then=nothing if then is None else then,
            **{**whole, **columns},
        )

    def take(self, rows: np.ndarray) -> "Samples":
        lists = {name: getattr(self, name).take(rows) for name in _LISTS}
        return replace(self, **lists, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    @staticmethod
    def join(parts: list["Samples"]) -> "Samples":
        columns: dict[str, Any] = {name: Ragged.join([getattr(p, name) for p in parts]) for name in _LISTS}
        columns |= {name: np.concatenate([getattr(p, name) for p in parts]) for name in _COLUMNS}
        return Samples(**columns)


_LISTS = ("history", "candidates", "then")
_COLUMNS = ("prompt", "user", "item", "separator", "review", "stars", "yes")


def slices(starts: np.ndarray, lengths: np.ndarray, step: int = 1) -> np.ndarray:
    """The positions starts[0], starts[0] + step, … of every slice of so many, one slice after the other."""
    ends = lengths.cumsum()
    places = np.arange(0, step * int(ends[-1]) if len(ends) else 0, step)
    places += np.repeat(starts - step * (ends - lengths), lengths)
    return places


class FieldTexts:
    """The text of each field for every person and item of a catalogue, and for every review of a table.

    tokens: how many tokens an item has in each modality, by its name. reviews: what C prompts tell of, a row each: any
    of headline, feature, explanation.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        codes: ItemCodes,
        tokens: Mapping[str, int],
        user_tokens: bool = False,
        reviews: pl.DataFrame | None = None,
    ):
        self.catalogue, self.codes = catalogue, codes
        self.tokens, self.user_tokens = dict(tokens), user_tokens
        self.reviews = pl.DataFrame() if reviews is None else reviews
        self._made: dict[str, list[str]] = {}

    def column(self, field: str) -> list[str]:
        """One text a row; the row is the sample's column `ROW_OF[field]`. Of people there is one row more, the last,
        for who is not known: nothing is said of them."""
        if field not in self._made:
            self._made[field] = self._of_reviews(field) if field in REVIEW_FIELDS else self._columns[field]()
        return self._made[field]

    def of_reviews(self, reviews: pl.DataFrame) -> "FieldTexts":
        """The same people and items, with other reviews."""
        return FieldTexts(self.catalogue, self.codes, self.tokens, self.user_tokens, reviews)

    def _of_reviews(self, field: str) -> list[str]:
        column = REVIEW_FIELDS[field]
        return self._plain(self.reviews[column]) if column in self.reviews.columns else []

    @cached_property
    def _columns(self) -> dict[str, Callable[[], list[str]]]:
        users, items = self.catalogue.users, self.catalogue.items
        if self.user_tokens:
            numbers = names = lambda: [*(f"<user_{n}>" for n in range(len(users))), ""]
        else:
            numbers = lambda: [*map(str, users["number"]), ""]  # noqa: E731
            names = lambda: [*self._plain(users["name"].fill_null(users["user"])), ""]  # noqa: E731
        return {
            "user_id": numbers,
            "user_desc": names,
            "item_id": lambda: self.codes.words,
            "item_title": lambda: self._plain(items["title"].fill_null(items["item"])),
            "star_rating": lambda: [f"{n / 10:g}" for n in range(101)],
            "yes_no": lambda: ["no", "yes"],
            "item_content": lambda: [self.content] * len(items),
        }

    def _plain(self, column: pl.Series) -> list[str]:
        return [self.codes.vocabulary.plain(text or "") for text in column]

    @property
    def k(self) -> int:
        """How many tokens an item has in all modalities together."""
        return sum(self.tokens.values())

    @property
    def content(self) -> str:
        return " ".join([IMAGE] * self.k)

    def item(self, item: int) -> str:
        """The multimodal field of an item: its code, then the tokens of its modalities (paper, section 3.1)."""
        return f"{self.codes.words[item]} {self.content}".strip()


REVIEW_FIELDS = {"review_headline": "headline", "feature": "feature", "explanation": "explanation"}
ROW_OF = {
    "user_id": "user",
    "user_desc": "user",
    "item_id": "item",
    "item_title": "item",
    "item_content": "item",
    "star_rating": "stars",
    **dict.fromkeys(REVIEW_FIELDS, "review"),
    "yes_no": "yes",
}
