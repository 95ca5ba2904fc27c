"""Semantic codes: items that are alike share the beginning of their codes, and a new item can be given one.

Residual k-means over item vectors: each level's codebook codes what the levels before left over. So Rajput et al.,
"Recommender systems with generative retrieval", NeurIPS 2023, section 3.1, but for their RQ-VAE, which learns the
vectors too. Items that end up with the same tokens get one more, which tells them apart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.files import write_bytes
from vip5.items.clustering import kmeans, nearest
from vip5.items.vectors import PURCHASES, TEXT, ItemVectors, Vectors, described
from vip5.modalities import ModalityStore

CODEBOOK = "codebook.safetensors"
LEVELS = "abcdefgh"  # tokens of level 0 are <a_0>, <a_1>, …
TWIN = "twin"  # <twin_0>, <twin_1>, …: the token that tells apart


class SemanticSettings(BaseModel):
    """What the vectors are made of, and the codebooks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[str, ...] | None = Field(None, min_length=1)  # text, purchases, modalities; none: the first two
    levels: int = Field(3, ge=1, le=len(LEVELS))
    size: int = Field(256, ge=2)  # tokens a level
    dimensions: int = Field(96, ge=2)  # of each source


class SemanticCoder:
    """Codebooks, and how items become the vectors that they code."""

    def __init__(self, vectors: ItemVectors, codebooks: Sequence[np.ndarray]):
        self.vectors, self.codebooks = vectors, list(codebooks)

    @classmethod
    def fit(
        cls, dataset: Dataset, settings: SemanticSettings, stores: Mapping[str, ModalityStore], seed: int
    ) -> tuple["SemanticCoder", np.ndarray]:
        """Codebooks fitted on the data set's items, and the items' levels, int64 [n_items, levels]."""
        rng = np.random.default_rng([seed, 7])
        sources = settings.sources or ((TEXT, PURCHASES) if described(dataset.items) else (PURCHASES,))
        vectors, whole = ItemVectors.fit(dataset, sources, stores, settings.dimensions, seed)
        coder, left = cls(vectors, []), whole
        for _ in range(settings.levels):
            coder.codebooks.append(kmeans(left, settings.size, rng))
            left = left - coder.codebooks[-1][nearest(left, coder.codebooks[-1])[0]]
        return coder, coder.levels(whole)

    def levels(self, left: np.ndarray) -> np.ndarray:
        """The entry of each level's codebook for vectors [n, d]: int64 [n, levels]."""
        chosen = []
        for book in self.codebooks:
            chosen.append(nearest(left, book)[0])
            left = left - book[chosen[-1]]
        return np.stack(chosen, axis=1)

    def code(self, items: pl.DataFrame, vectors: Vectors | None = None) -> list[str]:
        """The codes of items that it was not fitted on, by what is written of them and their vectors.

        `items` has some of title, brand, categories and description. No token tells equal ones apart: that is for who
        puts them into a catalogue.
        """
        return level_words(self.levels(self.vectors.of(items, vectors)))

    def save(self, folder: Path) -> None:
        """Write `codebook.safetensors`."""
        own = self.vectors
        tensors = {"words.weights": own.word_weights, "words.directions": own.word_directions}
        tensors |= {f"mean.{name}": mean for name, mean in own.means.items()}
        tensors |= {f"directions.{name}": directions for name, directions in own.directions.items()}
        tensors |= {f"codebook.{n}": book for n, book in enumerate(self.codebooks)}
        tensors["purchase_width"] = np.array([own.purchase_width])
        there = {name: np.ascontiguousarray(value) for name, value in tensors.items() if value is not None}
        write_bytes(folder / CODEBOOK, save(there))

    @classmethod
    def load(cls, folder: Path) -> "SemanticCoder":
        """Read what `save` wrote; UserError where it is not there or damaged."""
        try:
            tensors = load_file(str(folder / CODEBOOK))
            vectors = ItemVectors(
                tensors.get("words.weights"),
                tensors.get("words.directions"),
                _named("mean.", tensors),
                _named("directions.", tensors),
                int(tensors["purchase_width"][0]),
            )
            books = _named("codebook.", tensors)
            return cls(vectors, [books[str(n)] for n in range(len(books))])
        except (OSError, KeyError, TypeError, SafetensorError) as error:
            raise UserError(
                f"cannot read {folder / CODEBOOK} ({error}): only codes that hold 'semantic' have one; train again"
            ) from None


def _named(start: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def level_words(levels: np.ndarray) -> list[str]:
    """`<a_7><b_200><c_31>` for each row of levels."""
    return ["".join(f"<{LEVELS[level]}_{n}>" for level, n in enumerate(row)) for row in levels.tolist()]


def twins(levels: np.ndarray) -> np.ndarray:
    """The number of each item among those with the same levels, in the order of rows; -1 where it is alone."""
    _, kind, count = np.unique(levels, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(kind, kind="stable")
    place = np.empty(len(kind), np.int64)
    place[order] = np.arange(len(kind)) - (np.cumsum(count) - count)[kind[order]]
    return np.where(count[kind] > 1, place, -1)
