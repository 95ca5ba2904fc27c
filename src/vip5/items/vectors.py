"""Vectors of items for semantic codes: what is written of them, what modalities hold of them, who bought them.

Each source is brought to at most `width` directions and to unit length, so that each weighs the same where several are
put side by side. What is fitted (weights of words, directions) is kept: an item that comes later is coded by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.items.collaborative import normalised, purchases
from vip5.modalities import ModalityStore
from vip5.modalities.linear import singular_vectors, unit_rows
from vip5.modalities.words import BUCKETS, WORD, count_words, rarity, weighted, words_in

TEXT, PURCHASES = "text", "purchases"  # sources; any other is the name of a modality
Vectors = Mapping[str, tuple[np.ndarray, np.ndarray]]  # by modality: float32 [n, d] and bool [n], who has one
_FIELDS = ("title", "brand", "description")  # beside the categories, which count as whole phrases too


@dataclass(frozen=True)
class ItemVectors:
    """How items become vectors, after `fit`; only arrays, so that it is stored and loaded as such."""

    word_weights: np.ndarray | None = None  # float32 [BUCKETS]: inverse document frequencies
    word_directions: np.ndarray | None = None  # float32 [BUCKETS, width]
    means: dict[str, np.ndarray] = field(default_factory=dict)  # float32 [d], by modality
    directions: dict[str, np.ndarray] = field(default_factory=dict)  # float32 [d, width], by modality
    purchase_width: int = 0

    @classmethod
    def fit(
        cls, dataset: Dataset, sources: Sequence[str], stores: Mapping[str, ModalityStore], width: int, seed: int
    ) -> tuple["ItemVectors", np.ndarray]:
        """Fit on all items' own descriptions and vectors, and on the training part's purchases; gives the vectors of
        the data set's items too, float32 [n_items, d].

        Raises: UserError where a source is not there.
        """
        rng = np.random.default_rng([seed, 6])
        words = _fit_words(dataset, width, rng) if TEXT in sources else {}
        means, directions = {}, {}
        for name in (source for source in sources if source not in (TEXT, PURCHASES)):
            if name not in stores:
                remedy = f"give modalities.{name}.tokens=1"
                raise UserError(f"semantic codes from {name!r}, and the model has no modality of that name: {remedy}")
            means[name], directions[name] = _fit_content(stores[name], width)
        own = cls(**words, means=means, directions=directions, purchase_width=width if PURCHASES in sources else 0)
        everything = np.arange(dataset.n_items)
        whole = own.of(dataset.items, {name: stores[name].gather(everything) for name in means})
        if own.purchase_width:
            values, vectors = singular_vectors(normalised(purchases(dataset)), width, rng)
            whole[:, -width:] = unit_rows(vectors * values)
        return own, whole

    def of(self, items: pl.DataFrame, vectors: Vectors | None = None) -> np.ndarray:
        """Vectors of any items by what they are, float32 [n, d]; who bought them is left at 0.

        `items` has some of title, brand, categories and description.
        """
        blocks = []
        if self.word_weights is not None and self.word_directions is not None:
            blocks.append(unit_rows(weighted(word_counts(items), self.word_weights) @ self.word_directions))
        for name, directions in self.directions.items():
            content = np.zeros((len(items), directions.shape[1]))
            if vectors is not None and name in vectors:
                matrix, there = vectors[name]
                content[there] = unit_rows((matrix[there] - self.means[name]) @ directions)
            blocks.append(content)
        blocks.append(np.zeros((len(items), self.purchase_width)))
        return np.hstack(blocks).astype(np.float32)


def _fit_words(dataset: Dataset, width: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    counts = word_counts(dataset.items)
    if not counts.nnz:
        raise UserError(f"semantic codes from text need titles or categories, and {dataset.path} has none")
    weights = rarity(counts)
    directions = singular_vectors(weighted(counts, weights), width, rng)[1].astype(np.float32)
    return {"word_weights": weights, "word_directions": directions}


def _fit_content(store: ModalityStore, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of a modality's vectors and their widest directions, float32."""
    shown = store.gather(np.flatnonzero(store.mask))[0].astype(np.float64)
    centred = shown - shown.mean(axis=0)
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :width]
    return shown.mean(axis=0).astype(np.float32), directions.astype(np.float32)


def described(items: pl.DataFrame) -> bool:
    """Whether anything is written of any item."""
    texts = any(items[name].drop_nulls().str.contains(WORD).any() for name in _FIELDS if name in items.columns)
    return texts or ("categories" in items.columns and items["categories"].list.len().sum() > 0)


def word_counts(items: pl.DataFrame) -> csr_array:
    """How often each hashed word stands in what is written of each item: [n, BUCKETS].

    Categories count as their words and as whole phrases.
    """
    there = [name for name in _FIELDS if name in items.columns]
    words = [words_in(pl.col(name).fill_null("")) for name in there]
    if "categories" in items.columns:
        phrases = pl.col("categories").cast(pl.List(pl.String)).fill_null([])
        words += [words_in(phrases.list.join(" ")), phrases.list.eval(pl.lit("=") + pl.element())]
    if not words:
        return csr_array((len(items), BUCKETS))
    return count_words(items.select(pl.concat_list(words).alias("word")).to_series())
