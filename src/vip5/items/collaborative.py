"""Collaborative codes: items bought by the same people share the beginning of their codes.

Recursive spectral clustering of the training co-occurrence graph (Hua et al., "How to index item IDs for recommendation
foundation models", SIGIR-AP 2023, section 4.3). Each user spreads a weight of one over their purchases, so the graph's
normalised adjacency is BᵀB with B = D_u^-1/2 X D_i^-1/2, X being users × items: its eigenvectors are the right singular
vectors of the sparse B (Dhillon 2001), and the graph itself, dense for popular items, is never made.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csr_array

from vip5.data import Dataset
from vip5.items.clustering import kmeans, nearest
from vip5.modalities.linear import singular_vectors, unit_rows


class CollaborativeSettings(BaseModel):
    """The tree of clusters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(20, ge=2)  # clusters that a cluster is cut into
    depth: int = Field(2, ge=1)  # levels of clusters; a token each


def clusters(dataset: Dataset, settings: CollaborativeSettings, seed: int) -> tuple[list[str], np.ndarray]:
    """The cluster tokens of each item, `<cluster_3><cluster_47>`, and the number of its last cluster, int64 [n_items].

    Every cluster has a number of its own, counted level by level, so that a token means the same set of items
    everywhere. A cluster of no more than `width` items is not cut. Items that nobody bought in the training part are a
    cluster of their own on the first level.
    """
    rng = np.random.default_rng([seed, 5])
    bought = purchases(dataset)
    path = np.full((dataset.n_items, settings.depth), -1)
    known = np.bincount(bought.indices, minlength=dataset.n_items) > 0
    frontier, total = [np.flatnonzero(known)], 0
    for level in range(settings.depth):
        parts = []
        for items in frontier:
            if level and len(items) <= settings.width:
                continue
            owner = _cut(bought, items, settings, rng)
            parts += [items[owner == n] for n in range(int(owner.max(initial=-1)) + 1)]
        if level == 0 and not known.all():
            parts.append(np.flatnonzero(~known))
        for number, items in enumerate(parts, total):
            path[items, level] = number
        total += len(parts)
        frontier = [items for items in parts if known[items[0]]]
    words = ["".join(f"<cluster_{n}>" for n in row if n >= 0) for row in path.tolist()]
    return words, path.max(axis=1)


def members(cluster: np.ndarray, bought: np.ndarray) -> np.ndarray:
    """The place of each item within its cluster, most bought first (ties by row): int64 [n_items].

    So the token `<member_0>`, which clusters share, means the same in each of them: its best seller.
    """
    order = np.lexsort((np.arange(len(cluster)), -bought, cluster))
    first = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    return place[np.argsort(order)]


def purchases(dataset: Dataset) -> csr_array:
    """X: which user bought which item in the training part, float64 0/1 [n_users, n_items]."""
    history = dataset.history("train")
    matrix = csr_array(
        (
            np.ones(len(history.values)),
            history.values.astype(np.int64),
            history.offsets.copy(),
        ),  # changed in place below
        shape=(dataset.n_users, dataset.n_items),
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def normalised(matrix: csr_array) -> csr_array:
    """D_u^-1/2 X D_i^-1/2, where D are the sums of rows and of columns."""
    rows, columns = (np.asarray(matrix.sum(axis=axis)).ravel() for axis in (1, 0))
    scaled = matrix.copy()
    row_of = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    scaled.data = matrix.data / np.sqrt(rows[row_of] * columns[matrix.indices])
    return scaled


def _cut(bought: csr_array, items: np.ndarray, settings: CollaborativeSettings, rng: np.random.Generator) -> np.ndarray:
    """The cluster of each of `items`, int64 numbered from 0 without gaps: k-means on as many eigenvectors as there are
    to be clusters, each row at unit length (Ng, Jordan and Weiss 2001)."""
    part = csr_array(bought[:, items])
    part = part[np.diff(part.indptr) > 0]
    _, vectors = singular_vectors(normalised(part), settings.width, rng)
    vectors = unit_rows(vectors)
    owner, _ = nearest(vectors, kmeans(vectors, settings.width, rng))
    return np.unique(owner, return_inverse=True)[1]
