"""What a ranker is worth on the validation part: to choose an epoch by, and a setting."""

import numpy as np

from vip5.baselines.base import Ranker
from vip5.data import Dataset, Ragged

VALIDATE_USERS = 5000
_SCORES = 6_000_000  # at once


class Validation:
    """The validation items of some users, in order of the length of their histories.

    `again`: people buy what they bought before, so that nothing is left out of the lists; else histories are.
    """

    def __init__(self, users: np.ndarray, histories: Ragged, targets: np.ndarray, again: bool = False) -> None:
        self.users, self.histories, self.targets, self.again = users, histories, targets, again

    @classmethod
    def of(cls, dataset: Dataset, most: int = VALIDATE_USERS) -> "Validation | None":
        """Of `most` users at most, spread evenly; None where there is no validation part."""
        users = dataset.tested("validation")
        if len(users) > most:
            users = users[np.unique(np.linspace(0, len(users) - 1, most).astype(int))]
        histories = dataset.history("validation")
        users = users[np.argsort(histories.lengths[users], kind="stable")]
        if not len(users):
            return None
        again = dataset.buys_again
        return cls(users, histories.take(users), dataset.targets("validation")[users], again)

    def scores(self, system: Ranker) -> dict[str, float]:
        """NDCG@10 and HR@10 over the whole catalogue, or what is outside the history; ties count against the system."""
        ranks = []
        at_once = max(1, _SCORES // system.n_items)
        for start in range(0, len(self.users), at_once):
            rows = np.arange(start, min(start + at_once, len(self.users)))
            part, targets = self.histories.take(rows), self.targets[rows]
            scores = system.scores(part, self.users[rows])
            if not self.again:
                scores[part.rows, part.values] = -np.inf  # nor is a target that is there found: `rank` leaves it out
            own = scores[np.arange(len(rows)), targets]
            scores[np.arange(len(rows)), targets] = -np.inf  # it is not its own rival
            ahead = (scores >= own[:, None]).sum(axis=1)
            ranks.append(np.where(own > system.least, ahead, system.n_items))
        rank = np.concatenate(ranks)
        found = rank < min(10, system.n_items)
        return {"NDCG@10": float((found / np.log2(rank + 2.0)).mean()), "HR@10": float(found.mean())}
