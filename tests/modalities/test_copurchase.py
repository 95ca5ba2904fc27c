"""Co-purchase vectors: the counts worked out by hand, the numbers by another way, blind to what is held out."""

import numpy as np
import polars as pl
import pytest

from vip5.data import Dataset, Ragged, prepare
from vip5.errors import UserError
from vip5.modalities.copurchase import bought_together, encode_copurchase, ppmi


def test_counts_and_information_by_hand() -> None:
    """Three people: (0, 1, 1), (0, 1), (0, 2). Pairs: 0-1 twice, 0-2 once; 6 ordered pairs in all."""
    history = Ragged.from_lists([[0, 1, 1], [0, 1], [0, 2]])
    together = bought_together(history, 4)
    assert together.toarray().tolist() == [[0, 2, 1, 0], [2, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    information = ppmi(together).toarray()
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = np.log(2 * 6 / (3 * 2))
    expected[0, 2] = expected[2, 0] = np.log(1 * 6 / (3 * 1))
    np.testing.assert_allclose(information, expected)


def test_less_than_chance_is_zero() -> None:
    """Items 0 and 1 are bought together once, each often with others of its own."""
    history = Ragged.from_lists([[0, 1], *([[0, 2]] * 5), *([[1, 3]] * 5)])
    information = ppmi(bought_together(history, 4)).toarray()
    assert information[0, 1] == 0 and information[0, 2] > 0 and (information >= 0).all()


def shop(folder, last: list[int]) -> Dataset:
    """40 people of two tastes; `last` are the offsets of their two held-out items."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(40):
        taste = 10 * (user % 2)
        items = [*(taste + rng.permutation(10)[:6]), *((taste + offset) % 20 for offset in last)]
        rows += [(f"u{user:02}", f"i{item:02}", place) for place, item in enumerate(items)]
    rows += [("u40", f"i{item:02}", item) for item in range(20)] + [("u41", f"i{item:02}", item) for item in (20, 3, 4)]
    folder.mkdir()
    pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row").write_csv(folder / "x.csv")
    return prepare(folder / "data", interactions=folder / "x.csv")


def test_blind_to_what_is_held_out(tmp_path) -> None:
    one, other = shop(tmp_path / "one", [3, 5]), shop(tmp_path / "other", [11, 19])
    assert one.hash != other.hash and one.n_items == other.n_items
    first, second = (encode_copurchase(dataset, dim=8).store for dataset in (one, other))
    for file in ("matrix.npy", "mask.npy"):
        assert len({(each.path / "modalities/copurchase" / file).read_bytes() for each in (one, other)}) == 1
    assert first.fingerprint == second.fingerprint
    # What the training part alone shows: the tastes lie apart, item 20 was bought alone in it and is unknown.
    x = first.matrix
    np.testing.assert_allclose(np.linalg.norm(x[first.mask], axis=1), 1, rtol=1e-5)
    cosine = x[:18] @ x[:18].T - 2 * np.eye(18)
    assert (cosine.argmax(1) // 10 == np.arange(18) // 10).mean() > 0.9
    assert not first.mask[one.item_index("i20")] and not x[one.item_index("i20")].any()


def test_the_numbers_are_those_of_a_dense_decomposition(tmp_path) -> None:
    """U sqrt(S) at unit length, up to a rotation: the same cosines."""
    dataset = shop(tmp_path / "shop", [3, 5])
    store = encode_copurchase(dataset, dim=6).store
    information = ppmi(bought_together(dataset.history("train"), dataset.n_items)).toarray()
    left, values, _ = np.linalg.svd(information)
    rows = left[:, :6] * np.sqrt(values[:6])
    rows = rows[store.mask] / np.linalg.norm(rows[store.mask], axis=1, keepdims=True)
    got = store.matrix[store.mask].astype(np.float64)
    np.testing.assert_allclose(got @ got.T, rows @ rows.T, atol=0.02)


def test_there_already_and_too_little(tmp_path) -> None:
    dataset = shop(tmp_path / "shop", [3, 5])
    assert [encode_copurchase(dataset, dim=8).reused for _ in range(2)] == [False, True]
    assert not encode_copurchase(dataset, dim=9).reused
    alone = pl.DataFrame({"user": ["a"] * 3 + ["b"] * 3, "item": list("xyzzyx"), "timestamp": [1, 2, 3] * 2})
    alone.write_csv(tmp_path / "alone.csv")
    with pytest.raises(UserError, match="nobody bought items together"):
        encode_copurchase(prepare(tmp_path / "alone", interactions=tmp_path / "alone.csv"))
