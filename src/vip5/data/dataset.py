"""A dataset folder, opened: tables, sequences, splits, candidates, photos."""

import difflib
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from vip5.data.candidates import hash_of_lists
from vip5.data.ids import row_of
from vip5.data.photo_names import inside
from vip5.data.ragged import Ragged
from vip5.data.said import buys_again, order_words
from vip5.data.schema import TEST, TRAIN, VALIDATION, Manifest
from vip5.errors import UserError

Split = Literal["train", "validation", "test"]


class Dataset:
    """Read-only view of a dataset folder; tables are read when first asked for.

    A user is their row in `users`, an item its row in `items`. Each user's sequence is for training first, then for
    validation, then for the test. Leave-one-out holds out one interaction for each of the last two; a split by time
    any number, and users may lack a part.
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
        """int32 [n_lists, n_users, width]: negatives for the test target, outside the user's own sequence.

        The width is what was asked for, or less where some user leaves fewer items to draw.
        """
        shape = (self.manifest.candidate_lists, self.n_users, self.manifest.counts["candidates"])
        return self._table("candidates", ["item"])["item"].to_numpy().reshape(shape)

    @property
    def candidates_hash(self) -> str:
        """sha256 (hex) of the candidates alone."""
        return self.manifest.candidates_hash or hash_of_lists(self.candidates)

    @cached_property
    def sequences(self) -> Ragged:
        """int32 item indices of all interactions of each user, oldest first."""
        table = self.interactions
        lengths = np.bincount(table["user"].to_numpy(), minlength=self.n_users)
        return Ragged.from_lengths(table["item"].to_numpy(), lengths)

    @cached_property
    def _split_counts(self) -> np.ndarray:
        """int64 [3, n_users]: how many interactions of each user are for training, validation, test, in this order."""
        users, splits = self.interactions["user"].to_numpy(), self.interactions["split"]
        parts = (users[(splits == split).to_numpy()] for split in (TRAIN, VALIDATION, TEST))
        return np.stack([np.bincount(part, minlength=self.n_users) for part in parts])

    def history(self, split: Split) -> Ragged:
        """What is known of each user before the first target of `split`; for "train", the training part itself."""
        return self._histories[TEST if known_split(split, TRAIN, VALIDATION, TEST) == TEST else TRAIN]

    @cached_property
    def _histories(self) -> dict[str, Ragged]:
        whole, (train, validation, _) = self.sequences, self._split_counts
        place = np.arange(len(whole.values)) - whole.offsets[whole.rows]
        known = {TRAIN: train, TEST: train + validation}
        return {split: Ragged.from_lengths(whole.values[place < n[whole.rows]], n) for split, n in known.items()}

    def targets(self, split: Literal["validation", "test"]) -> np.ndarray:
        """int32 [n_users]: each user's first item in `split`; -1 where there is none, or nothing is known before it."""
        train, validation, test = self._split_counts
        before, there = (
            (train, validation) if known_split(split, VALIDATION, TEST) == VALIDATION else (train + validation, test)
        )
        tested = np.flatnonzero((train > 0) & (there > 0))
        result = np.full(self.n_users, -1, dtype=np.int32)
        result[tested] = self.sequences.values[(self.sequences.offsets[:-1] + before)[tested]]
        return result

    def tested(self, split: Literal["validation", "test"]) -> np.ndarray:
        """int64 [m]: the users who have a target in `split`, in order; of leave-one-out all but dropped ties."""
        return np.flatnonzero(self.targets(split) >= 0)

    @cached_property
    def tied_share(self) -> float | None:
        """Of the test targets, those at the same time (or position) as the purchase before.

        None where the order is the file's, or the folder is of a version that did not count.
        """
        if self.manifest.order in (None, "file"):
            return None
        tied = 0 if self.manifest.ties == "drop" else self.manifest.counts["tied_tests"]
        return tied / max(len(self.tested("test")), 1)

    @cached_property
    def order_note(self) -> str:
        """One plain sentence on where the order within a user comes from and what was done with equal times."""
        return order_words(self.manifest, len(self.tested("test")))

    @property
    def buys_again(self) -> bool:
        """Whether people often buy what they had before, as the training part alone has it."""
        return buys_again(self.manifest)

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

    def _table(self, name: str, columns: list[str] | None = None) -> pl.DataFrame:
        file = self.path / f"{name}.parquet"
        try:
            return pl.read_parquet(file, columns=columns)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise UserError(
                f"cannot read {file} ({str(error).splitlines()[0]}): prepare the data again with --overwrite"
            ) from None


def known_split(split: str, *there: str) -> str:
    """The name of a part; UserError where there is none of that name."""
    if split not in there:
        raise UserError(f"unknown split {split!r}: there are {', '.join(there)}")
    return split


def _find(rows: dict[str, int], raw: str, kind: str, path: Path) -> int:
    if (row := row_of(rows, raw)) is not None:
        return row
    near = difflib.get_close_matches(str(raw), rows, n=3, cutoff=0.7)
    like = f"did you mean {', '.join(near)}?" if near else f"ids look like {', '.join(list(rows)[:3])}"
    raise UserError(f"unknown {kind} {raw!r} (dataset {path}): {like}")
