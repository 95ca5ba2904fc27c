"""The cases of a split: who is tested, what is known of them, what they really took, and among what to find it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vip5.data import Dataset, Ragged


@dataclass(frozen=True)
class HeldOut:
    """n users who have a target in a split, as models, baselines and rules alike see them."""

    users: np.ndarray  # int [n], rows of the data set
    histories: Ragged  # n rows: what is known before the target
    targets: np.ndarray  # int [n]
    lists: np.ndarray  # int [n, C]: the target among the stored negatives, in an order drawn once; the test has them

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        split: Literal["validation", "test"] = "test",
        most: int | None = None,
        number: int = 0,
    ) -> "HeldOut":
        """The tested users of a split; with `most`, no more than that many, spread evenly. `number` is that of the
        stored lists, of which there may be several."""
        users, lists = dataset.tested(split), np.empty((dataset.n_users, 0), np.int32)
        if split == "test":
            beside = np.column_stack([dataset.targets("test"), dataset.candidates[number]])[users]
            lists = np.random.default_rng([99, number]).permuted(beside, axis=1)
        if most is not None and most < len(users):
            kept = np.unique(np.linspace(0, len(users) - 1, most).astype(int))
            users, lists = users[kept], lists[kept]
        return cls(users, dataset.history(split).take(users), dataset.targets(split)[users], lists[: len(users)])

    def __len__(self) -> int:
        return len(self.users)
