"""A dataset folder, opened."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vip5.data import Dataset, prepare
from vip5.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [(user, item) for user, items in (("ann", "wxyz"), ("bob", "zyx")) for item in items]
    (tmp_path / "buys.csv").write_text("user,item\n" + "".join(f"{user},item-{item}\n" for user, item in rows))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "item-x.png")
    return prepare(tmp_path / "out", interactions=tmp_path / "buys.csv", images=tmp_path / "images").path


def test_what_is_known_before_each_target(folder: Path) -> None:
    dataset = Dataset(folder)
    assert (dataset.n_users, dataset.n_items) == (2, 4)
    for split, histories in {
        "train": [[0, 1], [3]],
        "validation": [[0, 1], [3]],
        "test": [[0, 1, 2], [3, 2]],
    }.items():
        assert [row.tolist() for row in dataset.history(split)] == histories
    assert dataset.targets("validation").tolist() == [2, 2] and dataset.targets("test").tolist() == [3, 1]
    assert dataset.targets("test").dtype == dataset.sequences.values.dtype == np.int32
    for user in range(2):
        assert [*dataset.history("test")[user], dataset.targets("test")[user]] == dataset.sequences[user].tolist()


def test_ids(folder: Path) -> None:
    dataset = Dataset(str(folder))
    assert dataset.user_index("bob") == 1 and dataset.item_index("item-y") == 2
    with pytest.raises(UserError, match=r"unknown item 'itemy'.*did you mean item-y"):
        dataset.item_index("itemy")
    with pytest.raises(UserError, match=r"unknown user '\?'.*ids look like ann, bob"):
        dataset.user_index("?")


def test_photos(folder: Path, tmp_path: Path) -> None:
    dataset = Dataset(folder)
    photo = tmp_path / "images" / "item-x.png"
    assert [dataset.photo_path(item) for item in range(4)] == [None, photo, None, None]
    outside = photo.rename(tmp_path / "outside.png")
    photo.symlink_to(outside)
    assert dataset.photo_path(1) is None
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"folder of photos .*images is gone"):
        dataset.photo_path(1)


def test_workers_can_have_it(folder: Path) -> None:
    dataset = Dataset(folder)
    dataset.history("test"), dataset.candidates
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.hash == dataset.hash and np.array_equal(copy.candidates, dataset.candidates)


def test_folders_that_are_no_dataset(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a dataset folder, it has no manifest.json: make one with"):
        Dataset(tmp_path)
    with pytest.raises(UserError, match=r"is not a dataset folder"):
        Dataset(tmp_path / "gone")
    (folder / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"cannot read .*items.parquet .*--overwrite"):
        _ = Dataset(folder).items
    manifest = json.loads((folder / "manifest.json").read_text())
    for broken in ("{", json.dumps(manifest | {"format": 2}), json.dumps(manifest | {"extra": 1})):
        (folder / "manifest.json").write_text(broken)
        with pytest.raises(UserError, match=r"manifest.json is damaged or of another version \(.*: prepare the data"):
            Dataset(folder)
