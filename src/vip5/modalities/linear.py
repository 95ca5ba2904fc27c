"""Truncated singular vectors of sparse matrices, and rows at unit length."""

import numpy as np
from scipy.sparse import csr_array


def singular_vectors(
    matrix: csr_array, rank: int, rng: np.random.Generator, iterations: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """The `rank` largest singular values of a sparse [n, m] and their right singular vectors, float64 [m, rank].

    Randomised subspace iteration with 10 directions to spare (Halko, Martinsson and Tropp 2011, algorithm 4.4). Where
    the matrix has fewer dimensions than `rank`, the rest is 0.
    """
    width = min(rank + 10, *matrix.shape)
    basis = rng.standard_normal((matrix.shape[1], width))
    for _ in range(iterations):
        basis, _ = np.linalg.qr(matrix.T @ (matrix @ basis))
    _, values, rotation = np.linalg.svd(matrix @ basis, full_matrices=False)
    vectors = (basis @ rotation.T)[:, :rank]
    missing = rank - vectors.shape[1]
    return np.pad(values[:rank], (0, max(missing, 0))), np.pad(vectors, ((0, 0), (0, max(missing, 0))))


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows at length 1; rows of zeros stay."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 1e-12, length, 1)
