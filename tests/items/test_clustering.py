"""Singular vectors and k-means against what NumPy and SciPy make of the same."""

import numpy as np
import pytest
from scipy.cluster.vq import kmeans2
from scipy.sparse import csr_array, random_array

from vip5.items.clustering import kmeans, nearest, singular_vectors, unit_rows


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


def test_kmeans_is_as_good_as_scipys():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(60, 8)) + 4 * rng.normal(size=8) for _ in range(12)]).astype(np.float32)
    ours = nearest(x, kmeans(x, 12, np.random.default_rng(1)))[1].sum()
    theirs = min(
        np.square(x - centres[owner]).sum()
        for centres, owner in (kmeans2(x, 12, minit="++", rng=seed) for seed in range(5))
    )
    assert ours < 1.3 * theirs


def test_nearest_by_hand():
    owner, distance = nearest(np.array([[0.0, 1], [5, 5]]), np.array([[0.0, 0], [4, 5], [9, 9]]))
    assert owner.tolist() == [0, 1] and distance == pytest.approx([1, 1])


def test_no_more_centres_than_distinct_rows():
    x = np.repeat(np.eye(3), 4, axis=0)
    assert sorted(kmeans(x, 10, np.random.default_rng(0)).tolist()) == sorted(np.eye(3).tolist())
    assert len(kmeans(x + np.arange(12)[:, None], 10, np.random.default_rng(0))) == 10


def test_unit_rows():
    assert unit_rows(np.array([[3.0, 4], [0, 0]])) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))
