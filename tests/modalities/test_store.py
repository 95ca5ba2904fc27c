"""Opening stores by name, with one clear line for all else; copying one into a folder of its own."""

import shlex

import numpy as np
import pytest

from vip5.errors import UserError
from vip5.modalities import ModalityStore, copy_store, open_modality, open_store, store_names
from vip5.modalities import store as store_module
from vip5.modalities.encode import encode
from vip5.modalities.tfidf import encode_tfidf


def test_by_exact_name(dataset, mean_colour) -> None:
    assert store_names(dataset) == []
    with pytest.raises(UserError, match=r"no vectors 'photo'.*none yet"):
        open_modality(dataset, "photo")
    encode(dataset, mean_colour())
    encode(dataset, mean_colour(), "again")
    assert store_names(dataset) == ["again", "photo"]
    for name in ("again", "photo"):
        store = open_modality(dataset, name)
        assert (store.name, store.kind, store.dim, store.fingerprint) == (name, "photo", 8, "weights")
        assert isinstance(store.matrix, np.memmap) and store.matrix.dtype == np.float32
        assert store.matrix.shape == (23, 8) and store.mask.shape == (23,)
    with pytest.raises(UserError, match=r"there are again, photo"):
        open_modality(dataset, "phot")


@pytest.mark.parametrize("name", ["text", "copurchase", "photo", "vectors", "mine"])
def test_what_is_missing_names_its_command(dataset, name: str) -> None:
    with pytest.raises(UserError) as error:
        open_modality(dataset, name)
    words = shlex.split(str(error.value).split("`")[1])
    assert words[:4] == ["vip5", "data", "encode", str(dataset.path)]
    kind = "photo|text|copurchase|vectors" if name == "mine" else name
    assert words[4:6] == ["--modality", kind] and ("--name" in words) == (name == "mine")


def test_other_tables_and_the_command_that_makes_it_again(dataset) -> None:
    encode_tfidf(dataset, "short", "{title} ; {brand}", 4)
    dataset.hash = "other tables"
    with pytest.raises(UserError, match="made for other tables") as error:
        open_modality(dataset, "short")
    words = shlex.split(str(error.value).split("`")[1])
    options = dict(zip(words[4::2], words[5::2], strict=True))
    assert options == {
        "--modality": "text", "--name": "short", "--encoder": "tfidf", "--template": "{title} ; {brand}", "--dim": "4",
    }  # fmt: skip


@pytest.mark.parametrize("file", ["matrix.npy", "mask.npy", "store.json"])
def test_damaged(dataset, mean_colour, file: str) -> None:
    encode(dataset, mean_colour())
    (dataset.path / "modalities" / "photo" / file).write_bytes(b"damaged")
    with pytest.raises(UserError, match="vip5 data encode"):
        open_modality(dataset, "photo")
    assert not encode(dataset, mean_colour(fingerprint="newer")).reused
    assert open_modality(dataset, "photo").mask.sum() == 20


def test_a_damaged_one_is_mended_by_the_same_command(dataset, mean_colour) -> None:
    encode(dataset, mean_colour())
    (dataset.path / "modalities" / "photo" / "matrix.npy").unlink()
    assert not encode(dataset, mean_colour()).reused


def test_nothing_is_unpickled(dataset, mean_colour) -> None:
    encode(dataset, mean_colour())
    np.save(dataset.path / "modalities" / "photo" / "mask.npy", np.array([print] * 23), allow_pickle=True)
    with pytest.raises(UserError, match="cannot read the vectors"):
        open_modality(dataset, "photo")


def test_of_another_type(dataset, mean_colour) -> None:
    encode(dataset, mean_colour())
    np.save(dataset.path / "modalities" / "photo" / "matrix.npy", np.zeros((23, 8)))
    with pytest.raises(UserError, match="another type than float32"):
        open_modality(dataset, "photo")


def test_copied_and_opened_without_the_dataset(dataset, mean_colour, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(store_module, "_BLOCK", 5)
    store = encode(dataset, mean_colour()).store
    copy_store(store, tmp_path / "run" / "looks")
    copy = open_store(tmp_path / "run" / "looks", 23)
    assert (copy.name, copy.kind, copy.dim, copy.fingerprint) == ("looks", "photo", 8, "weights")
    assert isinstance(copy.matrix, np.memmap)
    np.testing.assert_array_equal(copy.matrix, store.matrix)
    np.testing.assert_array_equal(copy.mask, store.mask)
    with pytest.raises(UserError, match="not 22 x 8"):
        open_store(tmp_path / "run" / "looks", 22)
    with pytest.raises(UserError, match="no vectors"):
        open_store(tmp_path / "run", 23)


def test_half_a_copy_is_no_store(tmp_path, monkeypatch) -> None:
    """Not even where an older, whole one stood before."""
    old, new = (ModalityStore("n", "text", 2, "f", np.full((3, 2), x, np.float32), np.ones(3, bool)) for x in (1, 2))
    copy_store(old, tmp_path / "n")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(np, "save", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        copy_store(new, tmp_path / "n")
    with pytest.raises(UserError, match="no vectors"):
        open_store(tmp_path / "n", 3)
    copy_store(new, tmp_path / "n")
    assert open_store(tmp_path / "n", 3).matrix[0, 0] == 2
