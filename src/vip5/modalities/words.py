"""Words as sparse vectors: counted in hashed columns, weighted by how rare they are."""

import numpy as np
import polars as pl
from scipy.sparse import csr_array

BUCKETS = 2**15  # words are hashed into so many columns
WORD = r"[\p{L}\p{N}]+"


def words_in(texts: pl.Expr) -> pl.Expr:
    """The words of each text, lower case: a list of strings."""
    return texts.fill_null("").str.to_lowercase().str.extract_all(WORD)


def count_words(words: pl.Series) -> csr_array:
    """How often each word stands in each row's list of words: float64 [n, BUCKETS], a hashed column a word."""
    found = (
        pl.DataFrame({"word": words}).with_row_index("row").explode("word").drop_nulls().group_by("row", "word").len()
    )
    column = _hashed(found["word"])
    entries = (found["len"].to_numpy().astype(np.float64), (found["row"].to_numpy().astype(np.int64), column))
    return csr_array(entries, shape=(len(words), BUCKETS))


def rarity(counts: csr_array) -> np.ndarray:
    """Inverse document frequency log((n + 1) / (df + 1)), float32 [BUCKETS]: words that are everywhere tell nothing."""
    frequency = np.bincount(counts.indices, minlength=BUCKETS)
    return np.log((counts.shape[0] + 1) / (frequency + 1)).astype(np.float32)


def weighted(counts: csr_array, weights: np.ndarray) -> csr_array:
    """TF-IDF with sublinear counts and rows of unit length (Manning et al. 2008, section 6.4)."""
    scaled = counts.copy()
    scaled.data = (1 + np.log(counts.data)) * weights[counts.indices]
    lengths = np.sqrt(np.asarray(scaled.multiply(scaled).sum(axis=1)).ravel())
    scaled.data /= np.repeat(np.where(lengths > 0, lengths, 1), np.diff(scaled.indptr))
    return scaled


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
