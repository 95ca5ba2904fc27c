"""A dataset folder, opened."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


PARTS = st.lists(st.tuples(*[st.lists(st.integers(0, 9), max_size=3)] * 3).filter(any), min_size=1, max_size=6)


def in_memory(parts: list[tuple[list[int], list[int], list[int]]]) -> Dataset:
    """A data set of users with these items for training, validation and test."""
    made = Dataset.__new__(Dataset)
    made.manifest = SimpleNamespace(counts={"users": len(parts), "items": 10})
    names = ("train", "validation", "test")
    rows = [
        (u, i, split) for u, own in enumerate(parts) for split, items in zip(names, own, strict=True) for i in items
    ]
    schema = {"user": pl.Int32, "item": pl.Int32, "split": pl.Enum(names)}
    made.__dict__["interactions"] = pl.DataFrame(rows, schema=schema, orient="row")
    return made


@settings(deadline=None, max_examples=100)
@given(PARTS)
def test_histories_are_prefixes_and_targets_what_follows(parts: list[tuple[list[int], list[int], list[int]]]) -> None:
    dataset = in_memory(parts)
    assert [row.tolist() for row in dataset.sequences] == [train + valid + test for train, valid, test in parts]
    known = {"train": 0, "validation": 0, "test": 1}
    for split, more in known.items():
        assert [r.tolist() for r in dataset.history(split)] == [[*p[0], *(p[1] if more else [])] for p in parts]
    for n, split in ((1, "validation"), (2, "test")):
        targets = [own[n][0] if own[n] and own[0] else -1 for own in parts]
        assert dataset.targets(split).tolist() == targets and dataset.targets(split).dtype == np.int32
        assert dataset.tested(split).tolist() == [user for user, target in enumerate(targets) if target >= 0]
        for user in dataset.tested(split):
            history = dataset.history(split)[user].tolist()
            assert dataset.sequences[user].tolist()[: len(history) + 1] == [*history, targets[user]]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=8), min_size=1, max_size=6))
def test_leave_one_out_tests_everyone_on_the_last(histories: list[list[int]]) -> None:
    dataset = in_memory([(row[:-2], row[-2:-1], row[-1:]) for row in histories])
    assert dataset.targets("test").tolist() == [row[-1] for row in histories]
    assert dataset.targets("validation").tolist() == [row[-2] for row in histories]
    assert [row.tolist() for row in dataset.history("test")] == [row[:-1] for row in histories]
    for split in ("validation", "test"):
        assert dataset.tested(split).tolist() == list(range(len(histories))) and dataset.tested(split).dtype == np.int64


def test_a_folder_of_an_older_version(folder: Path) -> None:
    """Without the fields that came later it is leave-one-out with one uniform list, and its protocol tells the rest."""
    made = Dataset(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    later = ("split", "holdout", "split_times", "review_split", "candidates_by", "candidate_lists", "candidates_hash")
    for protocol, review_split in (("clean", "by-time"), ("paper", "random")):
        old = {name: value for name, value in manifest.items() if name not in later} | {"protocol": protocol}
        (folder / "manifest.json").write_text(json.dumps(old))
        dataset = Dataset(folder)
        assert (dataset.manifest.split, dataset.manifest.review_split) == ("leave-one-out", review_split)
        assert (dataset.manifest.candidates_by, dataset.candidates.shape) == ("uniform", (1, 2, 0))
        assert dataset.candidates_hash == made.candidates_hash and dataset.tested("test").tolist() == [0, 1]


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
