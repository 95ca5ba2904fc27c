"""How a dataset folder is written: the same bytes for the same content, whole or not at all."""

import importlib
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vip5.data import Dataset, prepare
from vip5.data.hashing import content_hash
from vip5.errors import UserError

from .conftest import BUYS, ITEMS, REVIEWS, files


def test_the_hash_is_of_the_content_alone(tmp_path: Path) -> None:
    given = files(tmp_path, interactions=BUYS, items=ITEMS, reviews=REVIEWS)
    whole = prepare(tmp_path / "one", **given).hash
    os.makedirs(tmp_path / "far" / "away")
    parquet = {}
    for name, path in given.items():
        parquet[name] = tmp_path / "far" / f"{name}.parquet"
        pl.read_csv(path).write_parquet(parquet[name])
    assert prepare(tmp_path / "far" / "away" / "two", **parquet, name="other").hash == whole
    for change in ({"seed": 1, "review_split": "random"}, {"k_core": 1}):
        assert prepare(tmp_path / "three", **given, **change, overwrite=True).hash != whole
    given |= files(tmp_path, reviews=REVIEWS.replace("a week", "a year"))
    assert prepare(tmp_path / "four", **given).hash != whole


@pytest.mark.parametrize("options", [{}, {"candidates_by": "popularity", "candidate_lists": 3}, {"k_core": 2}])
def test_the_size_of_blocks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    rng = np.random.default_rng(0)
    rows = [f"u{u},i{i},{t}" for u in range(90) for i, t in zip(*rng.integers(70, size=(2, 3 + u % 9)), strict=True)]
    rng.shuffle(rows)
    given = files(tmp_path, interactions="\n".join(["user,item,ts", *rows]), reviews=REVIEWS.replace("u1,i", "u80,i"))
    usual = prepare(tmp_path / "usual", **given, **options)
    for name, value in (
        ("candidates._CELLS", 40),
        ("candidates._ROWS", 9),
        ("hashing._ROWS", 8),
        ("ragged._AT_ONCE", 4),
    ):
        monkeypatch.setattr(f"vip5.data.{name}", value)
    small = prepare(tmp_path / "small", **given, **options)
    for table in ("users", "items", "interactions", "reviews", "candidates"):
        one, other = (pl.read_parquet(made.path / f"{table}.parquet") for made in (usual, small))
        assert one.equals(other) and one.schema == other.schema
    same = {"hash", "candidates_hash", "counts"}
    assert small.manifest.model_dump(include=same) == usual.manifest.model_dump(include=same)


@pytest.mark.parametrize("at", ["draw_negatives", "store_lists", "add_tables", "repeats"])
def test_what_fails_on_the_way_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    given = files(tmp_path, interactions=BUYS, items=ITEMS)
    made = prepare(tmp_path / "out", **given)
    module = importlib.import_module("vip5.data.write")
    real, calls = getattr(module, at), []

    def failing(*args: object) -> object:
        calls.append(len(list((tmp_path / ".out.partial").iterdir())))
        if at != "draw_negatives" or len(calls) == 2:  # of the second list, when the first has been written
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr(module, at, failing)
    with pytest.raises(UserError, match=r"cannot write .*out \(No space left on device\): "):
        prepare(tmp_path / "out", **given, seed=1, candidate_lists=2, overwrite=True)
    assert calls and calls[-1] >= 4  # tables had been written
    assert Dataset(tmp_path / "out").manifest == made.manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interactions.csv", "items.csv", "out"]


def test_who_waits_is_shown_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    given = files(tmp_path, interactions=BUYS)
    prepare(tmp_path / "file", **given, progress=True)
    assert capsys.readouterr() == ("", "")  # no terminal
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for one
    prepare(tmp_path / "silent", **given)
    assert capsys.readouterr() == ("", "")
    prepare(tmp_path / "shown", **given, progress=True)
    out, err = capsys.readouterr()
    stages = ["reading interactions.csv", "checking interactions", "sorting interactions", "writing interactions"]
    assert not out and all(name in err for name in [*stages, "drawing candidates", "hashing"])


def test_a_dataset_opens_as_prepared(tmp_path: Path) -> None:
    made = prepare(tmp_path / "out", **files(tmp_path, interactions=BUYS))
    opened = Dataset(tmp_path / "out")
    tables = ("users", "items", "interactions", "reviews", "candidates")
    read = {name: pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in tables}
    assert opened.manifest == made.manifest and opened.hash == content_hash(read)
