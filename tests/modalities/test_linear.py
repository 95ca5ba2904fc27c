"""Singular vectors against what NumPy makes of the same."""

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from vip5.modalities.linear import singular_vectors, unit_rows


def test_singular_vectors_are_those_of_the_dense_matrix():
    rng = np.random.default_rng(0)
    matrix = random_array((80, 50), density=0.2, rng=rng, format="csr")
    values, vectors = singular_vectors(csr_array(matrix), 5, np.random.default_rng(1), iterations=30)
    _, truth, right = np.linalg.svd(matrix.toarray())
    assert values == pytest.approx(truth[:5], rel=1e-6)
    assert np.abs(np.diag(right[:5] @ vectors)) == pytest.approx(1, abs=1e-4)


def test_a_matrix_with_fewer_dimensions_is_filled_up():
    values, vectors = singular_vectors(csr_array(np.array([[3.0, 0, 0], [0, 0, 2.0]])), 5, np.random.default_rng(0))
    assert values == pytest.approx([3, 2, 0, 0, 0]) and vectors.shape == (3, 5)
    assert np.abs(vectors[:, 0]) == pytest.approx([1, 0, 0]) and not vectors[:, 2:].any()


def test_unit_rows():
    assert unit_rows(np.array([[3.0, 4], [0, 0]])) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))
