"""A dataset folder, opened: tables, sequences, splits, candidates, photos."""

import difflib
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from vip5.data.photos import inside
from vip5.data.ragged import Ragged
from vip5.data.schema import Manifest
from vip5.errors import UserError

Split = Literal["train", "validation", "test"]


class Dataset:
    """Read-only view of a dataset folder; tables are read when first asked for.

    A user is their row in `users`, an item its row in `items`. Leave-one-out: the last interaction of each user is the
    test target, the last but one the validation target, what comes before is for training.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = Manifest.read(self.path)

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}, {self.n_users} users, {self.n_items} items)"

    @property
    def hash(self) -> str:
        """Hash of what the tables hold; the same whenever and wherever they were made."""
        return self.manifest.hash

    @property
    def n_users(self) -> int:
        return self.manifest.counts["users"]

    @property
    def n_items(self) -> int:
        return self.manifest.counts["items"]

    @cached_property
    def users(self) -> pl.DataFrame:
        """user (raw id), name (or null)."""
        return self._table("users")

    @cached_property
    def items(self) -> pl.DataFrame:
        """item (raw id), title, brand, categories (list), description, image, paper_id; null where unknown."""
        return self._table("items")

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """user, item (indices), position, timestamp and rating (null where unknown), split; oldest first by user."""
        return self._table("interactions")

    @cached_property
    def reviews(self) -> pl.DataFrame:
        """user, item (indices), rating, headline, text, feature, explanation, timestamp, split; may have no rows."""
        return self._table("reviews")

    @cached_property
    def candidates(self) -> np.ndarray:
        """int32 [n_users, 99]: negatives for the test target, drawn uniformly outside the user's own sequence.

        Narrower where some user leaves fewer than 99 items of the catalogue.
        """
        width = self.manifest.counts["candidates"]
        return self._table("candidates")["item"].to_numpy().reshape(self.n_users, width)

    @cached_property
    def sequences(self) -> Ragged:
        """int32 item indices of all interactions of each user, oldest first."""
        table = self.interactions
        lengths = np.bincount(table["user"].to_numpy(), minlength=self.n_users)
        return Ragged.from_lengths(table["item"].to_numpy(), lengths)

    def history(self, split: Split) -> Ragged:
        """What is known of each user before the target of `split`; for "train", the training part itself."""
        return self._histories[2 if split != "test" else 1]

    @cached_property
    def _histories(self) -> dict[int, Ragged]:
        """Sequences without their last one and their last two."""
        whole = self.sequences
        from_end = np.repeat(whole.offsets[1:], whole.lengths) - np.arange(len(whole.values))
        return {n: Ragged.from_lengths(whole.values[from_end > n], whole.lengths - n) for n in (1, 2)}

    def targets(self, split: Literal["validation", "test"]) -> np.ndarray:
        """int32 [n_users]: the held-out item of each user."""
        return self.sequences.values[self.sequences.offsets[1:] - (1 if split == "test" else 2)]

    def photo_path(self, item: int) -> Path | None:
        """The file of the item's photo, or None. Never a file outside the folder of photos."""
        name = self._images[item]
        if name is None or self.manifest.images_root is None:
            return None
        root = Path(self.manifest.images_root)
        if not root.is_dir():
            raise UserError(
                f"the folder of photos {root} is gone: put it back, or prepare the data again with --images"
            )
        return inside(root, name)

    def user_index(self, raw: str) -> int:
        """Row of a user by raw id; UserError with near misses when unknown."""
        return _find(self._user_rows, raw, "user", self.path)

    def item_index(self, raw: str) -> int:
        """Row of an item by raw id; UserError with near misses when unknown."""
        return _find(self._item_rows, raw, "item", self.path)

    @cached_property
    def _images(self) -> list[str | None]:
        return self.items["image"].to_list()

    @cached_property
    def _user_rows(self) -> dict[str, int]:
        return {raw: row for row, raw in enumerate(self.users["user"])}

    @cached_property
    def _item_rows(self) -> dict[str, int]:
        return {raw: row for row, raw in enumerate(self.items["item"])}

    def _table(self, name: str) -> pl.DataFrame:
        file = self.path / f"{name}.parquet"
        try:
            return pl.read_parquet(file)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UserError(
                f"cannot read {file} ({str(error).splitlines()[0]}): prepare the data again with --overwrite"
            ) from None


def _find(rows: dict[str, int], raw: str, kind: str, path: Path) -> int:
    if (row := rows.get(str(raw))) is not None:
        return row
    near = difflib.get_close_matches(str(raw), rows, n=3, cutoff=0.7)
    like = f"did you mean {', '.join(near)}?" if near else f"ids look like {', '.join(list(rows)[:3])}"
    raise UserError(f"unknown {kind} {raw!r} (dataset {path}): {like}")
