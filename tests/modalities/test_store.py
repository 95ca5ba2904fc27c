"""Opening features: the only ones, the named ones, and one clear line for all else."""

import numpy as np
import pytest

from vip5.errors import UserError
from vip5.modalities import open_modality
from vip5.modalities.encode import encode
from vip5.modalities.store import store_name


def test_none_one_several(dataset, mean_colour) -> None:
    assert open_modality(dataset) is None
    with pytest.raises(UserError, match=r"no features 'a'.*none yet"):
        open_modality(dataset, "a")
    encode(dataset, mean_colour(), "a")
    store = open_modality(dataset)
    assert store is not None and (store.name, store.dim, store.fingerprint) == ("a", 8, "weights")
    assert isinstance(store.matrix, np.memmap) and store.matrix.dtype == np.float32
    assert store.matrix.shape == (23, 8) and store.mask.shape == (23,)
    encode(dataset, mean_colour(), "b")
    with pytest.raises(UserError, match=r"several encoders \(a, b\)"):
        open_modality(dataset)
    with pytest.raises(UserError, match=r"no features 'c'.*there are a, b"):
        open_modality(dataset, "c")
    b = open_modality(dataset, "b")
    assert b is not None and b.name == "b"


def test_other_tables(dataset, mean_colour) -> None:
    encode(dataset, mean_colour())
    dataset.hash = "other tables"
    with pytest.raises(UserError, match="made for other tables"):
        open_modality(dataset)


@pytest.mark.parametrize("file", ["matrix.npy", "mask.npy", "store.json"])
def test_damaged(dataset, mean_colour, file: str) -> None:
    encode(dataset, mean_colour())
    (dataset.path / "modalities" / "mean-colour" / file).write_bytes(b"damaged")
    with pytest.raises(UserError, match="again"):
        open_modality(dataset)
    assert not encode(dataset, mean_colour(fingerprint="newer")).reused
    assert open_modality(dataset) is not None


def test_nothing_is_unpickled(dataset, mean_colour) -> None:
    encode(dataset, mean_colour())
    np.save(dataset.path / "modalities" / "mean-colour" / "mask.npy", np.array([print] * 23), allow_pickle=True)
    with pytest.raises(UserError, match="cannot read the features"):
        open_modality(dataset)


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        ("basic", "basic"),
        ("openai/clip-vit-base-patch32", "clip-vit-base-patch32"),
        ("/models/resnet 50/", "resnet-50"),
        ("..", "features"),
    ],
)
def test_store_name(encoder: str, name: str) -> None:
    assert store_name(encoder) == name
