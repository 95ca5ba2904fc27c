"""What people bought, by their raw ids, as it stood when this was opened."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from vip5.data import Dataset, Ragged
from vip5.data.catalogue import Catalogue
from vip5.data.ids import row_of
from vip5.errors import UserError


@dataclass(frozen=True)
class Histories:
    """People with their purchases, oldest first, as rows of a catalogue; what the catalogue lacks is left out."""

    users: dict[str, int]  # raw id to row of `items`
    items: Ragged
    left_out: int  # purchases of items that the catalogue does not have

    @classmethod
    def of(cls, folder: str | Path, catalogue: Catalogue) -> "Histories":
        """All purchases in a dataset folder, whichever version of the shop it holds now.

        Raises: UserError where the folder is replaced while it is read.
        """
        dataset = Dataset(folder)
        users, raw_items, sequences = dataset.users["user"], dataset.items["item"], dataset.sequences
        if Dataset(folder).hash != dataset.hash:
            raise UserError(f"{folder} was replaced while it was read: try again")
        rows = raw_items.replace_strict(catalogue.item_rows, default=-1, return_dtype=pl.Int64).to_numpy()
        known = rows[sequences.values]
        kept = known >= 0
        lengths = np.bincount(sequences.rows[kept], minlength=len(sequences))
        items = Ragged.from_lengths(known[kept].astype(np.int32), lengths)
        return cls({raw: row for row, raw in enumerate(users)}, items, int((~kept).sum()))

    def get(self, user: str) -> np.ndarray | None:
        """The purchases of a person, int32; None for people who are not there."""
        row = row_of(self.users, user)
        return None if row is None else self.items[row]
