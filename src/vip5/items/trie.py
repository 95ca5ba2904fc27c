"""The trie of all item codes, or one trie for each list of candidates, as flat arrays."""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vip5.errors import UserError


@dataclass(frozen=True)
class Trie:
    """Prefix trees over item codes: G roots and N nodes in all, in breadth-first order.

    The children of a node are neighbours, sorted by token: node v's are `child_start[v]` … `child_start[v + 1] - 1`,
    and `token[c]` leads into child c. A branch ends where one item is left, since the rest of its code is certain.
    """

    roots: Tensor  # int64 [G]
    child_start: Tensor  # int32 [N + 1]
    token: Tensor  # int32 [N]; -1 for roots
    parent: Tensor  # int32 [N]; -1 for roots
    size: Tensor  # int32 [N]; how many items are at or below the node
    item: Tensor  # int32 [N]; the item where size is 1, else -1

    @classmethod
    def build(cls, codes: np.ndarray, items: np.ndarray | None = None, groups: np.ndarray | None = None) -> "Trie":
        """The trie of `codes` [n, T], one row an item, padded with 0 at the right, none the beginning of another.

        `items` [n] are the ids to report, distinct within a group; by default the numbers of the rows. With `groups`
        [n], values 0 … G-1, each group has its own root, `roots[group]`; a group without items gets a root without
        children. UserError when a code occurs twice in a group.
        """
        n, length = codes.shape
        items = np.arange(n) if items is None else items
        groups = np.zeros(n, np.int64) if groups is None else groups
        n_groups = int(groups.max(initial=0)) + 1
        order = np.lexsort([_narrow(column) for column in (*codes.T[::-1], groups)])
        codes, items, groups = codes[order], items[order], groups[order]

        size = [np.bincount(groups, minlength=n_groups)]
        item = [np.full(n_groups, -1)]
        item[0][groups] = np.where(size[0][groups] == 1, items, -1)
        token, parent = [np.full(n_groups, -1)], [np.full(n_groups, -1)]
        # Level by level: `rows` share their node `above` with others, and being sorted, a node's rows are neighbours.
        rows, above, n_nodes = np.arange(n), groups, n_groups
        for t in range(length):
            column = codes[rows, t]
            fresh = np.ones(len(rows), bool)
            fresh[1:] = (above[1:] != above[:-1]) | (column[1:] != column[:-1])
            first, place = np.flatnonzero(fresh), np.cumsum(fresh) - 1
            count = np.diff(first, append=len(rows))
            if ((column[first] == 0) & (count == 1)).any():  # if several, they are the same code: see below
                raise ValueError("a code is the beginning of another: codes must end in </s>")
            token.append(column[first])
            parent.append(above[first])
            size.append(count)
            item.append(np.where(count == 1, items[rows[first]], -1))
            shared = count[place] > 1
            rows, above = rows[shared], n_nodes + place[shared]
            n_nodes += len(first)
        if len(rows):
            raise UserError(
                f"item codes: items {items[rows[0]]} and {items[rows[1]]} share the code "
                f"{' '.join(map(str, codes[rows[0]]))}: codes must be distinct"
            )
        parents = np.concatenate(parent)
        children = np.bincount(parents[n_groups:], minlength=n_nodes)
        return cls(
            roots=torch.arange(n_groups),
            child_start=_int32(n_groups + np.concatenate([[0], children.cumsum()])),
            token=_int32(np.concatenate(token)),
            parent=_int32(parents),
            size=_int32(np.concatenate(size)),
            item=_int32(np.concatenate(item)),
        )

    @property
    def n_items(self) -> int:
        """The number of codes, over all groups."""
        return int(self.size[self.roots].sum())

    @cached_property
    def is_catalogue(self) -> bool:
        """Whether there is one root, and the items below it are 0 … n_items - 1, each once."""
        items = self.item[(self.item >= 0) & (self.parent >= 0)].sort().values
        return len(self.roots) == 1 and torch.equal(items, torch.arange(self.n_items).to(items))

    def to(self, device: str | torch.device) -> "Trie":
        """The same trie on another device."""
        if self.roots.device == torch.device(device):
            return self  # with what is cached
        return Trie(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    @cached_property
    def _leaves(self) -> tuple[Tensor, Tensor, int]:
        """Every (root, item) as one key, sorted, the leaf of each, and the number of keys that a root takes."""
        leaf = ((self.item >= 0) & (self.parent >= 0)).nonzero()[:, 0]
        root = self.parent[leaf]
        while ((above := self.parent[root]) >= 0).any():
            root = torch.where(above >= 0, above, root)
        stride = int(self.item.max()) + 1
        key, order = (root.long() * stride + self.item[leaf]).sort()
        return key, leaf[order], stride

    def emptied(self, roots_B: Tensor, rows: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Where excluding items leaves nothing: all pairs (row, node) with no allowed item at or below the node.

        `roots_B` int64 is the root of each row; item `items[i]` is excluded in row `rows[i]` (int64, any order, repeats
        and items that the row's tree does not hold do no harm).
        """
        if not len(items):
            return rows, items
        keys, leaves, stride = self._leaves
        known = (items >= 0) & (items < stride)
        pair = (rows[known] * stride + items[known]).unique()
        rows, items = pair // stride, pair % stride
        key = roots_B[rows] * stride + items
        place = torch.searchsorted(keys, key).clamp(max=len(keys) - 1)
        held = keys[place] == key
        rows, node = rows[held], leaves[place[held]]
        n_nodes, pairs = len(self.token), []
        while len(node):  # from the leaves up, count what is excluded below each node of each row
            pairs.append(rows * n_nodes + node)
            above = self.parent[node].long()
            rows, node = rows[above >= 0], above[above >= 0]
        if not pairs:
            return rows, node
        pair, excluded = torch.cat(pairs).unique(return_counts=True)
        pair = pair[excluded == self.size[pair % n_nodes]]
        return pair // n_nodes, pair % n_nodes


def _narrow(column: np.ndarray) -> np.ndarray:
    """As uint16 where it fits: numpy sorts 16 bits by radix, several times faster than wider integers."""
    return column.astype(np.uint16) if column.max(initial=0) < 2**16 else column


def _int32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.int32))
