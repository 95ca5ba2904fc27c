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
        groups = np.zeros(len(codes), np.int8) if groups is None else groups
        n_groups = int(groups.max(initial=0)) + 1
        order, (above, *columns) = _sort([groups, *codes.T])
        items = order if items is None else items[order].astype(np.int32)

        size = [np.bincount(groups, minlength=n_groups).astype(np.int32)]
        item = [np.full(n_groups, -1, np.int32)]
        item[0][above] = np.where(size[0][above] == 1, items, np.int32(-1))
        token, parent = [np.full(n_groups, -1, np.int32)], [np.full(n_groups, -1, np.int32)]
        # Level by level: `rows` share their node `above` with others, and being sorted, a node's rows are neighbours.
        rows, n_nodes = np.arange(len(codes), dtype=np.int32), n_groups
        for column in columns:
            column = column[rows]
            fresh = np.ones(len(rows), bool)
            fresh[1:] = (above[1:] != above[:-1]) | (column[1:] != column[:-1])
            first = np.flatnonzero(fresh).astype(np.int32)
            count = np.diff(first, append=np.int32(len(rows)))
            shared = count > 1
            if (column[first][~shared] == 0).any():  # if several, they are the same code: see below
                raise ValueError("a code is the beginning of another: codes must end in </s>")
            token.append(column[first])
            parent.append(above[first])
            size.append(count)
            item.append(np.where(shared, np.int32(-1), items[rows[first]]))
            rows = rows[np.repeat(shared, count)]
            above = np.repeat(n_nodes + np.flatnonzero(shared).astype(np.int32), count[shared])
            n_nodes += len(first)
        if len(rows):
            raise UserError(
                f"item codes: items {items[rows[0]]} and {items[rows[1]]} share the code "
                f"{' '.join(map(str, codes[order[rows[0]]]))}: codes must be distinct"
            )
        parents = np.concatenate(parent)
        child_start = np.full(n_nodes + 1, n_groups, np.int32)
        child_start[1:] += np.bincount(parents[n_groups:], minlength=n_nodes).cumsum(dtype=np.int32)
        return cls(
            roots=torch.arange(n_groups),
            child_start=torch.from_numpy(child_start),
            token=torch.from_numpy(np.concatenate(token)),
            parent=torch.from_numpy(parents),
            size=torch.from_numpy(np.concatenate(size)),
            item=torch.from_numpy(np.concatenate(item)),
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

    def paths(self) -> tuple[Tensor, Tensor]:
        """Of each item of a catalogue, the nodes where its code's tokens are decided, and which child is taken there.

        int64 [n_items, T] each, T the trie's depth; node -1 where the rest of a code is certain.
        """
        child = ((self.item >= 0) & (self.parent >= 0)).nonzero()[:, 0]
        item, steps = self.item[child].long(), list[tuple[Tensor, Tensor]]()
        while (self.parent[child] >= 0).any():
            above = self.parent[child].long()
            inside = above >= 0
            steps.append((above, torch.where(inside, child - self.child_start[above.clamp(min=0)], -1)))
            child = torch.where(inside, above, child)
        node = torch.full((self.n_items, len(steps)), -1, device=item.device)
        taken = node.clone()
        length = torch.stack([(above >= 0).long() for above, _ in steps]).sum(dim=0)
        for up, (above, number) in enumerate(steps):  # from the leaves: a code's last token first
            at = length - 1 - up
            kept = at >= 0
            node[item[kept], at[kept]], taken[item[kept], at[kept]] = above[kept], number[kept].long()
        return node, taken

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


def _sort(columns: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rows sorted by the first column, then the second …, equal ones as they stand: their numbers, and the columns.

    Columns hold numbers from 0 on; what comes back is int32. Where a row and its number fit in 64 bits together, as
    rows of codebooks do, all is one array of such keys: sorted in place, and read from it in order.
    """
    n = len(columns[0])
    lows = [int(column.min()) if n else 0 for column in columns]
    bits = [(int(column.max(initial=0)) - low).bit_length() for column, low in zip(columns, lows, strict=True)]
    if sum(bits) + n.bit_length() > 64:
        # numpy sorts 16 bits by radix, several times faster than wider integers.
        narrow = [column.astype(np.uint16) if column.max() < 2**16 else column for column in columns]
        order = np.lexsort(narrow[::-1]).astype(np.int32)
        return order, [column[order].astype(np.int32) for column in columns]
    key = np.zeros(n, np.uint64)
    for column, low, width in zip(columns, lows, bits, strict=True):
        key <<= np.uint64(width)
        key |= (column - low).astype(np.uint64)
    key <<= np.uint64(n.bit_length())
    key |= np.arange(n, dtype=np.uint64)
    key.sort()
    parts = []
    for low, width in zip([0, *lows[::-1]], [n.bit_length(), *bits[::-1]], strict=True):
        parts.append((key & np.uint64(2**width - 1)).astype(np.int32) + np.int32(low))
        key >>= np.uint64(width)
    return parts[0], parts[:0:-1]
