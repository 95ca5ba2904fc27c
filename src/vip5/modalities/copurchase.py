"""Vectors of items by who buys them: positive pointwise mutual information, factorised (Levy and Goldberg 2014)."""

import hashlib
from importlib.metadata import version

import numpy as np
from scipy.sparse import csr_array

from vip5.data import Dataset, Ragged
from vip5.errors import UserError
from vip5.modalities.job import Draft, EncodeJob, Encoding
from vip5.modalities.linear import singular_vectors, unit_rows

DIM = 128


def encode_copurchase(dataset: Dataset, name: str = "copurchase", dim: int = DIM) -> Encoding:
    """Items that the same people bought in the training part lie near each other: the store `name` of `dataset`.

    Nothing of a held-out purchase is read. Rows are U·sqrt(S) of the truncated decomposition, at unit length. A shop
    with fewer directions than `dim` leaves the last numbers at 0. An item is masked where nobody bought it in the
    training part, or nobody bought another one with it more often than chance would have it.

    Raises: UserError where no two items are bought together in the training part; see `EncodeJob.run`.
    """
    if dim < 1:
        raise UserError(f"vectors of {dim} numbers are too small: take --dim 1 or more")
    history = dataset.history("train")
    inputs_hash = hashlib.sha256(history.values.tobytes() + history.offsets.tobytes()).hexdigest()
    constants = f"copurchase 1, {dim}, {inputs_hash}, numpy {version('numpy')}, scipy {version('scipy')}"
    job = EncodeJob(
        dataset=dataset,
        kind="copurchase",
        name=name,
        encoder="ppmi",
        fingerprint=hashlib.sha256(constants.encode()).hexdigest(),
        dim=dim,
        inputs=len(np.unique(history.values)),
        inputs_hash=inputs_hash,
        options={"dim": dim},
    )

    def fill(draft: Draft) -> None:
        information = ppmi(bought_together(history, dataset.n_items))
        if not information.nnz:
            raise UserError(f"nobody bought items together in the training part of {dataset.path}: it takes more data")
        values, vectors = singular_vectors(information, dim, np.random.default_rng(0))
        rows = unit_rows(vectors * np.sqrt(values))
        known = np.flatnonzero(np.linalg.norm(rows, axis=1) > 0.5)
        draft.add(known, rows[known], job.inputs)

    return job.run(fill)


def bought_together(history: Ragged, n_items: int) -> csr_array:
    """How many people bought both of two items, float64 [n_items, n_items], symmetric, nothing on the diagonal.

    It takes memory for each pair that somebody bought; so long histories count by their square.
    """
    entries = (np.ones(len(history.values)), history.values.astype(np.int64), history.offsets.copy())
    bought = csr_array(entries, shape=(len(history), n_items))
    bought.sum_duplicates()  # in place
    bought.data[:] = 1  # twice by the same person counts once
    pairs = csr_array(bought.T @ bought).tocoo()
    others = pairs.row != pairs.col
    return csr_array((pairs.data[others], (pairs.row[others], pairs.col[others])), shape=pairs.shape)


def ppmi(together: csr_array) -> csr_array:
    """max(0, log(p(a, b) / p(a)p(b))) of each pair, with the probabilities by the counts."""
    pairs = together.tocoo()
    each = np.asarray(together.sum(axis=1)).ravel()
    information = np.log(pairs.data * each.sum() / (each[pairs.row] * each[pairs.col]))
    positive = information > 0
    entries = (information[positive], (pairs.row[positive], pairs.col[positive]))
    return csr_array(entries, shape=together.shape)
