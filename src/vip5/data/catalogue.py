"""What a model or a baseline knows of a shop, kept in its own folder: its items, its people, where the photos lie."""

import difflib
import itertools
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import polars as pl

from vip5.data.dataset import Dataset
from vip5.data.ids import row_of
from vip5.data.photo_names import inside
from vip5.data.schema import TRAIN
from vip5.errors import UserError
from vip5.files import write_json, written_aside

ITEMS, USERS, ABOUT = "items.parquet", "users.parquet", "catalogue.json"
_ITEM_COLUMNS = ("item", "title", "brand", "categories", "description", "image")
_USER_COLUMNS = ("user", "name", "number")
_ABOUT_FIELDS = ("name", "images_root", "buys_again", "explains")


@dataclass(frozen=True)
class Catalogue:
    """Items and people by their rows; a row is the number that models, codes and vectors know them by."""

    name: str  # of the data set
    items: pl.DataFrame  # item (raw id), title, brand, categories (list), description, image; null where unknown
    users: pl.DataFrame  # user (raw id), name (or null), number (that a text speaks of them by, from 1)
    images_root: str | None  # the folder that images lie in
    buys_again: bool  # whether people commonly buy again what they had
    explains: bool  # whether the training part has explanations to learn from

    @classmethod
    def of(cls, dataset: Dataset, before: Self | None = None) -> Self:
        """What a data set knows of its items and people, as they stand now.

        People are numbered in their order; those of a catalogue of `before` keep their numbers, and the others' follow.
        """
        manifest = dataset.manifest
        items, users = dataset.items.select(_ITEM_COLUMNS), _numbered(dataset.users, before)
        told = (pl.col("split") == TRAIN) & pl.col("explanation").is_not_null()
        explains = dataset.reviews.select(told.any()).item()
        return cls(manifest.name, items, users, manifest.images_root, dataset.buys_again, explains)

    @property
    def n_items(self) -> int:
        return len(self.items)

    @property
    def n_users(self) -> int:
        return len(self.users)

    def item_index(self, raw: str) -> int:
        """The row of an item by raw id; UserError with near misses when unknown."""
        if (row := row_of(self.item_rows, raw)) is not None:
            return row
        near = difflib.get_close_matches(str(raw), self.item_rows, n=3, cutoff=0.7)
        like = f"did you mean {', '.join(near)}?" if near else f"ids look like {', '.join(list(self.item_rows)[:3])}"
        raise UserError(f"unknown item {raw!r} (catalogue of {self.name}): {like}")

    def user_index(self, raw: str | None) -> int:
        """The row of a person by raw id; -1 for people who are not known."""
        row = None if raw is None else row_of(self.user_rows, raw)
        return -1 if row is None else row

    def photo_path(self, item: int) -> Path | None:
        """The file of an item's photo, or None. Never a file outside the folder of photos."""
        name = self.items["image"][item]
        return None if name is None or self.images_root is None else inside(Path(self.images_root), name)

    @cached_property
    def item_rows(self) -> dict[str, int]:
        return {raw: row for row, raw in enumerate(self.items["item"])}

    @cached_property
    def user_rows(self) -> dict[str, int]:
        return {raw: row for row, raw in enumerate(self.users["user"])}

    @cached_property
    def category_rows(self) -> dict[str, list[int]]:
        """The rows of each category's items, by its name in lower case (`str.casefold`); an item may have several."""
        found: dict[str, list[int]] = {}
        for row, names in enumerate(self.items["categories"].to_list()):
            for name in dict.fromkeys(name.casefold() for name in names or ()):
                found.setdefault(name, []).append(row)
        return found

    def save(self, folder: Path) -> None:
        """Write three files into a folder, the one that makes it valid last."""
        for name, table in ((ITEMS, self.items), (USERS, self.users)):
            with written_aside(folder / name) as aside:
                table.write_parquet(aside, compression="zstd")
        about = {name: getattr(self, name) for name in _ABOUT_FIELDS}
        write_json(folder / ABOUT, about)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; UserError where it is not there or damaged."""
        try:
            about = json.loads((folder / ABOUT).read_text("utf-8"))
            items, users = (pl.read_parquet(folder / name, memory_map=False) for name in (ITEMS, USERS))
            told = {name: about[name] for name in _ABOUT_FIELDS}
            return cls(items=items.select(_ITEM_COLUMNS), users=users.select(_USER_COLUMNS), **told)
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"cannot read the catalogue {folder} ({reason}): copy it again, or train again") from None


def _numbered(users: pl.DataFrame, before: Catalogue | None) -> pl.DataFrame:
    known: dict[str, int] = {} if before is None else dict(before.users.select("user", "number").iter_rows())
    fresh = itertools.count(max(known.values(), default=0) + 1)
    numbers = [known[user] if user in known else next(fresh) for user in users["user"]]
    return users.select("user", "name", number=pl.Series(numbers, dtype=pl.Int64))
