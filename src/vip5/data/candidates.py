"""The negatives that stand beside the test target where one item of a hundred is to be picked."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vip5.data.hashing import add_numbers
from vip5.data.ragged import Ragged
from vip5.data.schema import NEGATIVES

_PATIENCE = 64  # draws an item there is to draw, until what a row still lacks is drawn by keys
_CELLS = 2**18  # draws or keys at once: what the cache of a core holds
_TABLE = 2**26  # weights together, up to which an item is looked up and not searched for
_ROWS = 2**20  # of the stored table at once


def draw_negatives(
    sequences: Ragged,
    weights: np.ndarray,
    seed: int,
    width: int = NEGATIVES,
    number: int = 0,
    advance: Callable[[int], object] = lambda n: None,
) -> np.ndarray:
    """int32 [n_users, width]: distinct items that are not in the user's own sequence, list `number` of `seed`.

    weights: int [n_items]. Items are drawn one after the other without replacement, each with probability
    proportional to its weight among what is left; equal weights draw uniformly, weight 0 is never drawn. Where some
    user leaves fewer than `width` items to draw, all rows are that much shorter. Rejection sampling, every user at
    once: a draw is kept when it is neither the user's own nor drawn before. The draws are used row by row, so that
    blocks of users give what all users at once would. advance is told of how many users the rows are done.
    """
    n_able = int((weights > 0).sum())
    lists = _Lists(sequences, len(weights), list_width(sequences, weights, width))
    rng = np.random.default_rng([seed, 2, number])  # as [seed, 2] for list 0: NumPy pads seeds with zeros
    drawn = _drawing(weights)
    pending = lists.pending(np.arange(len(sequences)))
    tries, tried = lists.width + lists.width // 4 + 1, 0
    while len(pending) and tried < _PATIENCE * n_able:
        for users in _blocks(pending, tries + lists.width):
            lists.keep(users, drawn(rng, (len(users), tries)))
            advance(len(users) - len(lists.pending(users)))
        pending = lists.pending(pending)
        tried += tries
        tries = min(2 * tries, 4 * n_able)
    for users in _blocks(pending, len(weights)):
        lists.complete(users, rng, weights)
        advance(len(users))
    return lists.items


def list_width(sequences: Ragged, weights: np.ndarray, width: int) -> int:
    """`width`, or what the user leaves who leaves the fewest items to draw."""
    able = weights > 0
    n_able, most = int(able.sum()), 0
    for users in _blocks(np.flatnonzero(sequences.lengths > n_able - width), n_able):  # others leave enough
        own = sequences.take(users)
        distinct = np.unique(own.rows * len(able) + own.values)
        most = max(most, int(np.bincount(distinct[able[distinct % len(able)]] // len(able), minlength=1).max()))
    return min(width, n_able - most)


def _blocks(users: np.ndarray, cells: int) -> Iterator[np.ndarray]:
    """The users in parts of so many that `cells` for each are _CELLS, or one."""
    at_once = max(1, _CELLS // cells)
    return (users[start : start + at_once] for start in range(0, len(users), at_once))


def _drawing(weights: np.ndarray) -> Callable[[np.random.Generator, tuple[int, int]], np.ndarray]:
    """A function that draws items, int of the given shape, by weight."""
    total, one = int(weights.sum()), int(weights[0])
    dtype = np.uint32 if total < 2**32 else np.int64  # the same numbers from the same stream, whichever is wide enough
    if (weights == one).all():
        return lambda rng, shape: rng.integers(total, size=shape, dtype=dtype) // one
    if total <= _TABLE:
        table = np.repeat(np.arange(len(weights), dtype=np.int32), weights)
        return lambda rng, shape: table[rng.integers(total, size=shape, dtype=dtype)]
    cumulative = np.cumsum(weights, dtype=dtype)
    return lambda rng, shape: np.searchsorted(cumulative, rng.integers(total, size=shape, dtype=dtype), side="right")


class _Lists:
    """Lists of items that are filled up from the left, some users at a time.

    items: int32 [n_users, width]. kept: int32 [n_users], how many of them stand there already.
    """

    def __init__(self, sequences: Ragged, n_items: int, width: int) -> None:
        self.sequences, self.n_items, self.width = sequences, n_items, width
        self.items = np.zeros((len(sequences), width), dtype=np.int32)
        self.kept = np.zeros(len(sequences), dtype=np.int32)

    def pending(self, users: np.ndarray) -> np.ndarray:
        """Those of the users whose lists are not full."""
        return users[self.kept[users] < self.width]

    def keep(self, users: np.ndarray, draws: np.ndarray) -> None:
        """Append of draws [n, tries] what is neither the user's own nor there already, as far as there is room."""
        known = self.kept[users]
        there = self.items[users, : known.max()]
        there[np.arange(there.shape[1]) >= known[:, None]] = self.n_items  # no item
        cells = np.concatenate([there, draws.astype(np.int32)], axis=1)
        # A row sorted by item, then by place: of equal items the first stays.
        bits = cells.shape[1].bit_length()
        dtype = np.uint32 if (self.n_items + 1) << bits <= 2**32 else np.int64
        keys = cells.astype(dtype) << bits | np.arange(cells.shape[1], dtype=dtype)
        keys.sort(axis=1)
        drop = np.zeros(cells.shape, dtype=bool)
        np.equal(keys[:, 1:] >> bits, keys[:, :-1] >> bits, out=drop[:, 1:])
        # Nor does the first where it is the user's own, of which there are fewer than draws: they are searched for.
        own, row_of_keys = self.sequences.take(users), (self.n_items + 1) << bits
        all_keys = (keys + np.arange(len(users))[:, None] * row_of_keys).ravel()
        wanted = own.rows * row_of_keys + (own.values.astype(np.int64) << bits)
        first = np.minimum(np.searchsorted(all_keys, wanted), len(all_keys) - 1)
        drop.ravel()[first[all_keys[first] >> bits == wanted >> bits]] = True
        good = cells < self.n_items
        row, column = np.nonzero(drop)
        good[row, keys[row, column] & ((1 << bits) - 1)] = False
        rank = np.cumsum(good, axis=1, dtype=np.int32)
        now = np.minimum(rank[:, -1], self.width)
        filled = np.zeros((len(users), self.width), dtype=np.int32)
        filled[np.arange(self.width) < now[:, None]] = cells[good & (rank <= self.width)]
        self.items[users], self.kept[users] = filled, now

    def complete(self, users: np.ndarray, rng: np.random.Generator, weights: np.ndarray) -> None:
        """Fill the users' lists in the order of exponential keys.

        The smallest of keys E / weight is each item's with probability proportional to its weight (P. Efraimidis,
        P. Spirakis: Weighted random sampling with a reservoir, IPL 2006), however rare what is left to draw may be.
        """
        with np.errstate(divide="ignore"):
            keys = rng.exponential(size=(len(users), self.n_items)) / weights
        own = self.sequences.take(users)
        keys[own.rows, own.values] = np.inf
        row, place = np.nonzero(np.arange(self.width) < self.kept[users][:, None])
        keys[row, self.items[users[row], place]] = place - self.n_items  # before all others
        self.items[users], self.kept[users] = np.argsort(keys, axis=1)[:, : self.width], self.width


def store_lists(file: Path, lists: Iterable[np.ndarray], shape: tuple[int, int, int], digest: "hashlib._Hash") -> str:
    """Write lists, each int32 [n_users, width], as Parquet: user, item; before them list, where there are several.

    shape: n_lists, n_users, width. digest is fed as by `content_hash`. Nothing but one list is held at a time.
    Returns: their hash, as `hash_of_lists` has it.
    """
    n_lists, n_users, width = shape
    height = n_lists * n_users * width
    numbers = [(number, users) for number in range(n_lists) for users in _parts(n_users, width)]
    if n_lists > 1:
        blocks = (np.full(len(users) * width, number) for number, users in numbers)
        add_numbers(digest, "candidates.list", height, blocks)
    add_numbers(digest, "candidates.user", height, (np.repeat(users, width) for _, users in numbers))
    own_digest = hashlib.sha256(_head(shape))
    names = ["user", "item"] if n_lists == 1 else ["list", "user", "item"]
    schema = pa.schema([(name, pa.int32()) for name in names])

    def items() -> Iterator[np.ndarray]:
        for number, drawn in enumerate(lists):
            for users in _parts(n_users, width):
                block = drawn[users[0] : users[-1] + 1].ravel()
                columns = {
                    "list": np.full(len(block), number, np.int32),
                    "user": np.repeat(users, width),
                    "item": block,
                }
                writer.write_table(pa.table({name: columns[name] for name in names}, schema=schema))
                own_digest.update(block.astype("<i4").tobytes())
                yield block

    # The items of a row group are many: a dictionary of them would be no smaller.
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=names[:-1]) as writer:
        add_numbers(digest, "candidates.item", height, items())
    return own_digest.hexdigest()


def hash_of_lists(candidates: np.ndarray) -> str:
    """sha256 (hex) of candidates [n_lists, n_users, width]."""
    _, n_users, width = candidates.shape
    digest = hashlib.sha256(_head(candidates.shape))
    for drawn in candidates:
        for users in _parts(n_users, width):
            digest.update(drawn[users].astype("<i4").tobytes())
    return digest.hexdigest()


def _head(shape: tuple[int, ...]) -> bytes:
    return ("x".join(str(n) for n in shape) + "\n").encode()


def _parts(n_users: int, width: int) -> Iterator[np.ndarray]:
    """Users, int32, in parts whose lists are _ROWS rows, or one list."""
    at_once = max(1, _ROWS // max(1, width))
    return (np.arange(start, min(start + at_once, n_users), dtype=np.int32) for start in range(0, n_users, at_once))
