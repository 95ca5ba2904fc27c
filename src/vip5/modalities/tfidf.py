"""The text encoder `tfidf`: weighted words and their main directions. Nothing to download, seconds for a catalogue."""

import hashlib
from importlib.metadata import version

import numpy as np
import polars as pl

from vip5.data import Dataset
from vip5.errors import UserError
from vip5.modalities.job import Draft, EncodeJob, Encoding
from vip5.modalities.linear import singular_vectors, unit_rows
from vip5.modalities.texts import TEMPLATE, hash_of_texts, texts_of
from vip5.modalities.words import count_words, rarity, weighted, words_in

NAME = "tfidf"
DIM = 128


def encode_tfidf(dataset: Dataset, name: str = "text", template: str = TEMPLATE, dim: int = DIM) -> Encoding:
    """Latent semantic analysis of the items' texts (Deerwester et al. 1990), as the store `name` of `dataset`.

    TF-IDF with sublinear counts, its `dim` main directions by a truncated singular value decomposition, rows at unit
    length. A catalogue with fewer directions than `dim` leaves the last numbers at 0. An item is masked where it has
    no text, or only words that every item has. Fitted on what the items are, on no purchase.

    Raises: UserError where no item has a text; see `EncodeJob.run`.
    """
    if dim < 1:
        raise UserError(f"vectors of {dim} numbers are too small: take --dim 1 or more")
    texts = texts_of(dataset, template)
    inputs_hash = hash_of_texts(texts)
    constants = f"tfidf 1, {dim}, {inputs_hash}, numpy {version('numpy')}, scipy {version('scipy')}"
    job = EncodeJob(
        dataset=dataset,
        kind="text",
        name=name,
        encoder=NAME,
        fingerprint=hashlib.sha256(constants.encode()).hexdigest(),
        dim=dim,
        inputs=len(texts),
        inputs_hash=inputs_hash,
        facts={"template": template},
        options={"encoder": NAME, "template": template, "dim": dim},
    )

    def fill(draft: Draft) -> None:
        vectors = _vectors([text for _, text in texts], dim)
        known = np.flatnonzero(np.linalg.norm(vectors, axis=1) > 0.5)
        draft.add(np.array([item for item, _ in texts])[known], vectors[known], len(texts))

    return job.run(fill)


def _vectors(texts: list[str], dim: int) -> np.ndarray:
    """float64 [n, dim]; a row of (nearly) zeros for a text without a word that tells it apart."""
    counts = count_words(pl.DataFrame({"text": texts}).select(words_in(pl.col("text"))).to_series())
    words = weighted(counts, rarity(counts))
    _, directions = singular_vectors(words, dim, np.random.default_rng(0))
    return unit_rows(words @ directions)
