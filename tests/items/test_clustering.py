"""k-means against what SciPy makes of the same."""

import numpy as np
import pytest
from scipy.cluster.vq import kmeans2

from vip5.items.clustering import kmeans, nearest


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
