"""A folder is written whole or not at all, and nobody's files are deleted."""

from pathlib import Path

import pytest

from vip5.data.folder import new_folder
from vip5.errors import UserError


def fill(target: Path, text: str, overwrite: bool = False) -> None:
    with new_folder(target, overwrite, "mark") as folder:
        (folder / "mark").write_text(text)


def test_written_whole_and_replaced_only_when_told(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    fill(target, "one")
    with pytest.raises(UserError, match=r"exists already: .*--overwrite"):
        fill(target, "two")
    assert (target / "mark").read_text() == "one"
    (target / "sub").mkdir()
    fill(target, "two", overwrite=True)
    assert [p.name for p in target.iterdir()] == ["mark"] and (target / "mark").read_text() == "two"
    assert [p.name for p in target.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, UserError])
def test_nothing_stays_of_a_run_that_failed(tmp_path: Path, fault: type[BaseException]) -> None:
    fill(tmp_path / "out", "one")
    with pytest.raises(fault), new_folder(tmp_path / "out", True, "mark") as folder:
        (folder / "mark").write_text("half")
        raise fault
    assert [p.name for p in tmp_path.iterdir()] == ["out"] and (tmp_path / "out" / "mark").read_text() == "one"


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fill(tmp_path / "out", "one")
    assert (tmp_path / "out" / "mark").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_ours_is_left_alone(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("photos", "file"):
        with pytest.raises(UserError, match=r"is not a folder of ours: choose another folder"):
            fill(tmp_path / name, "one", overwrite)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "mine.jpg", "photos"]
    with pytest.raises(UserError, match=r"cannot write"):
        fill(tmp_path / "file" / "out", "one", overwrite)


def test_leftovers_of_a_killed_run_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".out.partial" / "modalities").mkdir(parents=True)
    (tmp_path / ".out.partial" / "junk").write_text("half")
    fill(tmp_path / "out", "one")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mark"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_killed_between_the_two_renames_the_old_folder_comes_back(tmp_path: Path) -> None:
    fill(tmp_path / "out", "one")
    (tmp_path / "out").rename(tmp_path / ".out.old")
    with pytest.raises(UserError, match="exists already"):
        fill(tmp_path / "out", "two")
    assert (tmp_path / "out" / "mark").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", False, "mark") as folder:
        with pytest.raises(UserError, match="another run is writing"):
            fill(tmp_path / "out", "two")
        (folder / "mark").write_text("one")
    assert (tmp_path / "out" / "mark").read_text() == "one"
