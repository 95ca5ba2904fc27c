"""Rules that need no training: what a few lines reach shows what a model's number is worth, and what leaks.

Every rule gives int lists, best first, that go through the metrics of the models: for the next item [n, k], padded with
-1, and for one of C candidates their order [n, C].
"""

import re
from collections.abc import Sequence

import numpy as np

from vip5.data import Ragged

_USERS_AT_ONCE = 1024
_FAR = np.iinfo(np.int64).max // 4


def code_numbers(words: Sequence[str]) -> np.ndarray:
    """int64 [n]: a number for each item code, by which codes are above, below and near each other.

    Codes that are all numbers give these numbers. Other codes, such as `<cluster_3><member_4>`, give their rank in
    natural order, in which the numbers inside a code count as numbers: 0, 1, 2, …
    """
    if all(word.isascii() and word.isdigit() and len(word) <= 18 for word in words):
        return np.array([int(word) for word in words], dtype=np.int64)
    parts = [tuple(int(p) if n % 2 else p for n, p in enumerate(re.split(r"([0-9]+)", word))) for word in words]
    rank = {part: n for n, part in enumerate(sorted(set(parts)))}
    return np.array([rank[part] for part in parts], dtype=np.int64)


class IdPlusOne:
    """The codes right above the largest one of the history.

    Where numbers are given to items as users' whole sequences are read, the next new item of a user has the next
    number: this rule then finds the test item, and so does a model that learns to count.
    """

    def __init__(self, words: Sequence[str]):
        self.numbers = code_numbers(words)
        self.order = np.argsort(self.numbers, kind="stable").astype(np.int32)  # items by code
        self.place = np.argsort(self.order)  # of each item in `order`

    def rank(self, histories: Ragged, k: int) -> np.ndarray:
        """int32 [n, k]; -1 where no code is larger, and for an empty history."""
        n = len(self.order)
        places = largest(histories, self.place[histories.values], empty=n)
        return np.append(self.order, np.full(k, -1, np.int32))[np.minimum(places[:, None] + 1 + np.arange(k), n)]

    def rank_candidates(self, candidates: np.ndarray, histories: Ragged) -> np.ndarray:
        """Those above the largest code of the history first, the nearest first; then those below, the nearest first."""
        top = largest(histories, self.numbers[histories.values], empty=0)
        above = self.numbers[candidates] - top[:, None]
        key = np.where(above > 0, above, _FAR - above)
        return np.take_along_axis(candidates, np.argsort(key, axis=1, kind="stable"), axis=1)


class IdGap:
    """The codes nearest to that of the history's last item, on either side; of two as near, either by lot."""

    def __init__(self, words: Sequence[str], seed: int = 0):
        self.codes, self.seed = IdPlusOne(words), seed

    def rank(self, histories: Ragged, k: int) -> np.ndarray:
        """int32 [n, k], without the history; -1 for an empty history."""
        order, place = self.codes.order, self.codes.place
        ranked = np.full((len(histories), k), -1, dtype=np.int32)
        last = last_items(histories)
        side = np.random.default_rng(self.seed).integers(0, 2, len(histories))
        by_length = np.argsort(histories.lengths, kind="stable")[np.count_nonzero(last < 0) :]
        for start in range(0, len(by_length), _USERS_AT_ONCE):
            users = by_length[start : start + _USERS_AT_ONCE]
            known = np.zeros((len(users), len(order)), dtype=bool)
            part = histories.take(users)
            known[part.rows, part.values] = True
            reach = min(len(order), k + int(part.lengths.max()))  # that many on a side hold k free ones
            at = place[last[users], None] + np.arange(-reach, reach + 1)
            items = order[np.clip(at, 0, len(order) - 1)]
            free = (at >= 0) & (at < len(order)) & ~np.take_along_axis(known, items, axis=1)
            key = np.where(free, self._key(items, last[users], side[users]), _FAR)
            best = np.argsort(key, axis=1)[:, :k]
            items = np.where(np.take_along_axis(free, best, axis=1), np.take_along_axis(items, best, axis=1), -1)
            ranked[users, : items.shape[1]] = items
        return ranked

    def rank_candidates(self, candidates: np.ndarray, histories: Ragged) -> np.ndarray:
        """Each row of item indices [n, C] with the nearest first; as they stand for an empty history."""
        side = np.random.default_rng(self.seed).integers(0, 2, len(candidates))
        last = last_items(histories)
        key = np.where(last[:, None] < 0, 0, self._key(candidates, last, side))
        return np.take_along_axis(candidates, np.argsort(key, axis=1, kind="stable"), axis=1)

    def _key(self, items: np.ndarray, last: np.ndarray, side: np.ndarray) -> np.ndarray:
        """Rises with the distance of items [n, m] from `last` [n]; between two sides as far, `side` decides."""
        gap = self.codes.numbers[items] - self.codes.numbers[last][:, None]
        return 2 * np.abs(gap) + ((gap > 0) == side[:, None])


class NextRawId:
    """The items whose raw ids come right after that of the history's last item.

    Where purchases of one moment stand in the order of their ids, this rule finds the later ones.
    """

    def __init__(self, raw_ids: Sequence[str]):
        self.codes = IdPlusOne(raw_ids)

    def rank(self, histories: Ragged, k: int) -> np.ndarray:
        """int32 [n, k]; -1 where no id is higher, and for an empty history."""
        order, place = self.codes.order, self.codes.place
        n, last = len(order), last_items(histories)
        at = np.where(last < 0, n, place[last] + 1)
        return np.append(order, np.full(k, -1, np.int32))[np.minimum(at[:, None] + np.arange(k), n)]

    def rank_candidates(self, candidates: np.ndarray, histories: Ragged) -> np.ndarray:
        """Those after the last item first, the nearest first; then the others as they stand."""
        place, last = self.codes.place, last_items(histories)
        above = place[candidates] - np.where(last < 0, len(place), place[last])[:, None]
        return np.take_along_axis(
            candidates, np.argsort(np.where(above > 0, above, _FAR), axis=1, kind="stable"), axis=1
        )


class LastAgain:
    """The history over again, from its last item back: finds what people buy again."""

    def __init__(self, n_items: int):
        self.n_items = n_items

    def rank(self, histories: Ragged, k: int) -> np.ndarray:
        """int32 [n, k], distinct; -1 where the history ends."""
        row, item = self._distinct(histories)
        place = np.arange(len(row)) - np.searchsorted(row, row)
        ranked = np.full((len(histories), k), -1, dtype=np.int32)
        kept = place < k
        ranked[row[kept], place[kept]] = item[kept]
        return ranked

    def rank_candidates(self, candidates: np.ndarray, histories: Ragged) -> np.ndarray:
        """What was bought last first; what was not bought as it stands."""
        row, item = self._distinct(histories)
        keys = row * self.n_items + item
        sorter = np.argsort(keys)
        wanted = np.arange(len(candidates))[:, None] * self.n_items + candidates
        at = np.searchsorted(keys, wanted, sorter=sorter)
        found = sorter[np.minimum(at, len(keys) - 1)] if len(keys) else np.zeros_like(wanted)
        bought = keys[found] == wanted if len(keys) else np.zeros(wanted.shape, bool)
        order = np.argsort(np.where(bought, found, len(keys)), axis=1, kind="stable")
        return np.take_along_axis(candidates, order, axis=1)

    def _distinct(self, histories: Ragged) -> tuple[np.ndarray, np.ndarray]:
        """Rows and items, each item of a row where it was bought last, the latest of a row first."""
        keys = (histories.rows * self.n_items + histories.values)[::-1]
        latest = np.sort(np.unique(keys, return_index=True)[1])
        keys = keys[latest][np.argsort(keys[latest] // self.n_items, kind="stable")]
        return keys // self.n_items, keys % self.n_items


class SeldomNegative:
    """Candidates by how seldom they stand in other users' stored negatives, for the users whose list they might be in.

    At chance where negatives are drawn fairly; above it where they avoid items because these are someone's target.
    """

    def __init__(self, negatives: np.ndarray, own: Ragged, n_items: int):
        """negatives: int [n, C]; own: the n users' sequences, of which nothing is drawn."""
        self.counts = np.bincount(negatives.ravel(), minlength=n_items)
        pairs = np.unique(own.rows * n_items + own.values)
        self.users = len(own) - np.bincount(pairs % n_items, minlength=n_items)

    def rank_candidates(self, lists: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Each row of `lists` [n, C] with the seldom ones first; the list itself does not count."""
        here = lists != targets[:, None]
        seldom = (self.counts[lists] - here) / np.maximum(self.users[lists] - here, 1)
        return np.take_along_axis(lists, np.argsort(seldom, axis=1, kind="stable"), axis=1)


def last_items(histories: Ragged) -> np.ndarray:
    """int [n]: the last item of each history, -1 where there is none."""
    ends = histories.offsets[1:]
    if not len(histories.values):
        return np.full(len(histories), -1)
    return np.where(histories.lengths > 0, histories.values[np.maximum(ends - 1, 0)], -1)


def largest(rows: Ragged, values: np.ndarray, empty: int) -> np.ndarray:
    """int64 [n]: the largest of the values beside `rows.values` in each row; `empty` for rows without any."""
    result = np.full(len(rows), empty, dtype=np.int64)
    full = rows.lengths > 0
    if full.any():
        result[full] = np.maximum.reduceat(values, rows.offsets[:-1][full])
    return result
