"""Vectors of items for semantic codes: what is written of them, what their photos show, who bought them.

Each source is brought to at most `width` directions and to unit length, so that each weighs the same where several are
put side by side. What is fitted (weights of words, directions) is kept: an item that comes later is coded by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.items.clustering import singular_vectors, unit_rows
from vip5.items.collaborative import normalised, purchases
from vip5.modalities import ModalityStore

Source = Literal["text", "photos", "purchases"]
BUCKETS = 2**15  # words are hashed into so many columns
_WORD = r"[\p{L}\p{N}]+"
_FIELDS = ("title", "brand", "description")  # beside the categories, which count as whole phrases too


@dataclass(frozen=True)
class ItemVectors:
    """How items become vectors, after `fit`; only arrays, so that it is stored and loaded as such."""

    word_weights: np.ndarray | None = None  # float32 [BUCKETS]: inverse document frequencies
    word_directions: np.ndarray | None = None  # float32 [BUCKETS, width]
    photo_mean: np.ndarray | None = None  # float32 [d_v]
    photo_directions: np.ndarray | None = None  # float32 [d_v, width]
    purchase_width: int = 0

    @classmethod
    def fit(
        cls, dataset: Dataset, sources: Sequence[Source], store: ModalityStore | None, width: int, seed: int
    ) -> tuple["ItemVectors", np.ndarray]:
        """Fit on all items' own descriptions and photos, and on the training part's purchases; gives the vectors of
        the data set's items too, float32 [n_items, d].

        Raises: UserError where a source is not there.
        """
        rng = np.random.default_rng([seed, 6])
        fitted: dict[str, np.ndarray] = {}
        if "text" in sources:
            counts = word_counts(dataset.items)
            if not counts.nnz:
                raise UserError(f"semantic codes from text need titles or categories, and {dataset.path} has none")
            fitted["word_weights"] = _rarity(counts)
            weighted = _weighted(counts, fitted["word_weights"])
            fitted["word_directions"] = singular_vectors(weighted, width, rng)[1].astype(np.float32)
        if "photos" in sources:
            if store is None:
                raise UserError(f"semantic codes from photos need features: run vip5 data encode {dataset.path}")
            shown = store.gather(np.flatnonzero(store.mask))[0].astype(np.float64)
            fitted["photo_mean"] = shown.mean(axis=0).astype(np.float32)
            centred = shown - shown.mean(axis=0)
            directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :width]
            fitted["photo_directions"] = directions.astype(np.float32)
        own = cls(**fitted, purchase_width=width if "purchases" in sources else 0)
        photos = store.gather(np.arange(dataset.n_items)) if store is not None and "photos" in sources else None
        whole = own.of(dataset.items, photos)
        if own.purchase_width:
            values, vectors = singular_vectors(normalised(purchases(dataset)), width, rng)
            whole[:, -width:] = unit_rows(vectors * values)
        return own, whole

    def of(self, items: pl.DataFrame, photos: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
        """Vectors of any items by what they are, float32 [n, d]; who bought them is left at 0.

        `items` has some of title, brand, categories and description; `photos` are features [n, d_v] and a mask [n].
        """
        blocks = []
        if self.word_weights is not None and self.word_directions is not None:
            blocks.append(unit_rows(_weighted(word_counts(items), self.word_weights) @ self.word_directions))
        if self.photo_mean is not None and self.photo_directions is not None:
            looks = np.zeros((len(items), self.photo_directions.shape[1]))
            if photos is not None:
                features, mask = photos
                looks[mask] = unit_rows((features[mask] - self.photo_mean) @ self.photo_directions)
            blocks.append(looks)
        blocks.append(np.zeros((len(items), self.purchase_width)))
        return np.hstack(blocks).astype(np.float32)


def described(items: pl.DataFrame) -> bool:
    """Whether anything is written of any item."""
    texts = any(items[name].drop_nulls().str.contains(_WORD).any() for name in _FIELDS if name in items.columns)
    return texts or ("categories" in items.columns and items["categories"].list.len().sum() > 0)


def word_counts(items: pl.DataFrame) -> csr_array:
    """How often each hashed word stands in what is written of each item: [n, BUCKETS].

    Categories count as their words and as whole phrases.
    """
    there = [name for name in _FIELDS if name in items.columns]
    words = [pl.col(name).fill_null("").str.to_lowercase().str.extract_all(_WORD) for name in there]
    if "categories" in items.columns:
        phrases = pl.col("categories").cast(pl.List(pl.String)).fill_null([])
        words += [phrases.list.join(" ").str.to_lowercase().str.extract_all(_WORD)]
        words += [phrases.list.eval(pl.lit("=") + pl.element())]
    if not words:
        return csr_array((len(items), BUCKETS))
    found = (
        items.select(pl.concat_list(words).alias("word"))
        .with_row_index("row")
        .explode("word")
        .drop_nulls()
        .group_by("row", "word")
        .len()
    )
    column = _hashed(found["word"])
    entries = (found["len"].to_numpy().astype(np.float64), (found["row"].to_numpy().astype(np.int64), column))
    return csr_array(entries, shape=(len(items), BUCKETS))


def _hashed(words: pl.Series) -> np.ndarray:
    """A column for each word, int64; the same in every version and on every machine, as polars' own hash is not."""
    distinct = words.unique()
    table = {word: _fnv(word) % BUCKETS for word in distinct}
    return words.replace_strict(table, return_dtype=pl.Int64).to_numpy()


def _fnv(word: str) -> int:
    """FNV-1a, 32 bits."""
    value = 2166136261
    for byte in word.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def _rarity(counts: csr_array) -> np.ndarray:
    """Inverse document frequency log((n + 1) / (df + 1)): words that are everywhere tell nothing."""
    frequency = np.bincount(counts.indices, minlength=BUCKETS)
    return np.log((counts.shape[0] + 1) / (frequency + 1)).astype(np.float32)


def _weighted(counts: csr_array, weights: np.ndarray) -> csr_array:
    """TF-IDF with sublinear counts and rows of unit length (Manning et al. 2008, section 6.4)."""
    weighted = counts.copy()
    weighted.data = (1 + np.log(counts.data)) * weights[counts.indices]
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    weighted.data /= np.repeat(np.where(lengths > 0, lengths, 1), np.diff(weighted.indptr))
    return weighted
