"""The order of a user's interactions, and what is done with those that no time and no position tells apart."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from vip5.data.schema import Order, Ties


@dataclass(frozen=True)
class Ordered:
    """Interactions of each user together, oldest first.

    frame: user and the other columns. by: what the order was taken from. equal: bool [n], rows that tie with the row
    before: of the same user, at the same time and position, as far as there are any.
    """

    frame: pl.DataFrame
    by: Order
    equal: np.ndarray

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Ordered":
        """Sort by user, timestamp, position; what is equal in all of them stays as in the file."""
        keys = [name for name in ("timestamp", "position") if name in frame.columns]
        for name in (*reversed(keys), "user"):  # each sort is stable, so the last counts most
            if not frame[name].is_sorted():
                frame = frame.sort(name, maintain_order=True)
        equal = np.zeros(frame.height, dtype=bool)
        if keys:
            equal[1:] = True
            for name in ("user", *keys):
                values = frame[name].to_numpy()
                equal[1:] &= values[1:] == values[:-1]
        return cls(frame, "file" if not keys else "time" if "timestamp" in keys else "position", equal)

    @property
    def tied(self) -> np.ndarray:
        """int64: places of the rows that tie with another one."""
        return np.flatnonzero(self.equal | np.append(self.equal[1:], False))

    @property
    def last_tied(self) -> int:
        """How many users have a last interaction that ties with the one before."""
        users = self.frame["user"].to_numpy()
        return int((self.equal & np.append(users[1:] != users[:-1], True)).sum())

    def settled(self, ties: Ties, seed: int) -> pl.DataFrame:
        """The frame with ties in an order drawn by `seed`, the same whatever order they had; or as it is ("file").

        Only item and rating change places, the other columns are equal among tied rows or not there.
        """
        places = self.tied
        if ties == "file" or not len(places):
            return self.frame
        group = pl.Series("group", np.cumsum(~self.equal[places]))
        rows = self.frame[places].select("item", "rating", group).sort("group", "item", "rating")
        draw = pl.Series("draw", np.random.default_rng([seed, 3]).permutation(len(places)))
        rows = rows.with_columns(draw).sort("group", "draw")
        return self.frame.with_columns(
            self.frame[name].clone().scatter(places, rows[name]) for name in ("item", "rating")
        )
