"""`basic` carries colour, shape and pattern, on numbers of the size that a mapping network likes."""

import time

import numpy as np
import pytest
from PIL import Image
from skimage.feature import hog

from vip5.data import prepare
from vip5.demo import write_demo
from vip5.demo.shop import Shop, make_shop
from vip5.modalities import basic, open_modality
from vip5.modalities.basic import BasicEncoder
from vip5.modalities.encode import encode
from vip5.modalities.encoders import load_encoder

USERS, ITEMS = 60, 300


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, np.ndarray]:
    """A demo shop, its features through a real dataset folder, in the shop's order of items."""
    folder = tmp_path_factory.mktemp("basic")
    write_demo(folder / "shop", users=USERS, items=ITEMS, seed=5)
    tables = {name: folder / "shop" / f"{name}.csv" for name in ("interactions", "items", "reviews")}
    dataset = prepare(folder / "data", **tables, images=folder / "shop" / "images")
    assert encode(dataset, load_encoder("basic")).inputs == ITEMS
    store = open_modality(dataset, "photo")
    assert store.mask.all() and store.dim == basic.DIM
    order = [dataset.item_index(f"P{item + 1:04d}") for item in range(ITEMS)]
    return make_shop(USERS, ITEMS, 5), store.gather(np.array(order))[0].astype(np.float64)


@pytest.mark.parametrize(("trait", "least"), [("colour", 0.95), ("shape", 0.8), ("pattern", 0.8)])
def test_a_linear_probe_reads_the_traits(shop: tuple[Shop, np.ndarray], trait: str, least: float) -> None:
    """Ridge regression on half of the items names the trait of the others."""
    truth, features = getattr(shop[0], trait), shop[1]
    train, test = np.split(np.random.default_rng(0).permutation(ITEMS), 2)
    x, y = features - features[train].mean(0), np.eye(truth.max() + 1)[truth]
    weights = np.linalg.solve(
        x[train].T @ x[train] + 10 * np.eye(x.shape[1]), x[train].T @ (y[train] - y[train].mean(0))
    )
    right = ((x[test] @ weights + y[train].mean(0)).argmax(1) == truth[test]).mean()
    print(f"{trait}: {right:.3f}")
    assert right >= least


def test_blocks_have_similar_spread(shop: tuple[Shop, np.ndarray]) -> None:
    ends = np.cumsum([basic.HUES, 3 * basic.GRID**2, basic.ORIENTATIONS * basic.GRID**2])
    for block in np.split(shop[1], ends, axis=1):
        assert 3 < np.sqrt(block.var(0).sum()) < 5
    assert 0.4 < np.sqrt((shop[1] ** 2).mean()) < 0.9


def test_fast_on_one_core() -> None:
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(rng.integers(256, size=(96, 96, 3), dtype=np.uint8)) for _ in range(400)]
    encoder = BasicEncoder()
    started = time.process_time()
    for start in range(0, 400, 32):
        encoder.encode(np.stack([encoder.prepare(photo) for photo in photos[start : start + 32]]))
    assert time.process_time() - started < 4  # 1.3 s on the machine it was written on


def test_plain_photos() -> None:
    """Worked out by hand: a grey photo has no hue and no gradient, a red one all its hue in two bins."""
    encoder = BasicEncoder()
    grey, red = (Image.new("RGB", (30, 50), colour) for colour in ((119, 119, 119), (255, 0, 0)))
    features = encoder.encode(np.stack([encoder.prepare(photo) for photo in (grey, red)]))
    assert features.shape == (2, basic.DIM) and features.dtype == np.float32
    hues, places, directions, strength = np.split(features, [16, 64, 192], axis=1)
    np.testing.assert_allclose(hues[0], 0, atol=0.2)
    # CIE Lab of sRGB grey 119 is (50, 0, 0), of pure red (53.24, 80.09, 67.20): hue 40.0 degrees, bins of 22.5.
    np.testing.assert_allclose(places[0].reshape(16, 3), np.tile((2.5 * (50.03 - 75) / 50, 0, 0), (16, 1)), atol=0.01)
    np.testing.assert_allclose(places[1].reshape(16, 3)[7], 2.5 * np.array((53.24 - 75, 80.09, 67.2)) / 50, atol=0.01)
    chroma, share = np.hypot(80.09, 67.2) / 100, 40.0 / 22.5 - 1
    expected = np.zeros(16)
    expected[[1, 2]] = 14 * np.sqrt(chroma * np.array((1 - share, share)))
    np.testing.assert_allclose(hues[1], expected, atol=0.02)
    np.testing.assert_allclose(directions, 2 * -0.3, atol=1e-6)
    np.testing.assert_allclose(strength, 8 * -0.15, atol=1e-6)


def test_the_batch_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    photos = rng.integers(256, size=(5, 64, 64, 3), dtype=np.uint8)
    encoder = BasicEncoder()
    one_by_one = np.concatenate([encoder.encode(photo[None]) for photo in photos])
    np.testing.assert_array_equal(encoder.encode(photos), one_by_one)


def test_gradients_are_hog() -> None:
    """A step edge down the middle: directions as scikit-image gives them, all strength beside the edge."""
    edge = np.zeros((1, 64, 64, 3), np.uint8)
    edge[:, :, 32:] = 255
    features = BasicEncoder().encode(edge)[0]
    lightness = edge[0, ..., 0] / 255.0
    expected = hog(lightness, 8, pixels_per_cell=(16, 16), cells_per_block=(1, 1), block_norm="L2")
    np.testing.assert_allclose(features[64:192], 2 * (expected - 0.3), atol=1e-5)
    strength = features[192:].reshape(8, 8) / 8 + 0.15
    np.testing.assert_allclose(strength[:, 3:5], np.sqrt(0.5 / 8), atol=1e-5)
    np.testing.assert_allclose(np.delete(strength, (3, 4), axis=1), 0, atol=1e-6)
