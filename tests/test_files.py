"""Files are whole or not there, several of them together; locks; what cannot be written is found before the work."""

import ast
from pathlib import Path

import pytest

from vip5.errors import UserError
from vip5.files import check_writable, written_together
from vip5.lock import held
from vip5.runs import finished_run

SOURCE = Path(__file__).resolve().parents[1] / "src" / "vip5"


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path: Path) -> None:
    with held(tmp_path / "lock", "busy"), pytest.raises(UserError, match="busy"), held(tmp_path / "lock", "busy"):
        pass
    assert not list(tmp_path.iterdir())
    (tmp_path / "lock").write_text("")  # what a kill leaves
    with held(tmp_path / "lock", "busy"):
        pass


def test_nothing_needs_locks_of_one_system() -> None:
    for file in SOURCE.rglob("*.py"):
        names = [
            name.name
            for n in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(n, ast.Import)
            for name in n.names
        ]
        assert "fcntl" not in names, file


def test_files_change_together_or_not_at_all(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with written_together(tmp_path, "mark") as aside:
            for name in ("a", "mark", "z"):
                (aside / name).write_text(text)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(("a", "mark", "z"), "new")
    with pytest.raises(UserError, match="No space left"), written_together(tmp_path, "mark") as aside:
        (aside / "a").write_text("half")
        raise OSError(28, "No space left on device")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(("a", "mark", "z"), "new")


def test_killed_while_files_change_they_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark goes first and comes last."""
    (tmp_path / "mark").write_text("old")
    monkeypatch.setattr("vip5.files.os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt), written_together(tmp_path, "mark") as aside:
        for name in ("a", "mark"):
            (aside / name).write_text("new")
    assert not list(tmp_path.iterdir())


def test_two_evaluations_of_a_run_do_not_mix(tmp_path: Path) -> None:
    with finished_run(tmp_path), pytest.raises(UserError, match="another process evaluates"), finished_run(tmp_path):
        pass


def test_what_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path, words in ((tmp_path, "is a folder"), (tmp_path / "file" / "out", "cannot write")):
        with pytest.raises(UserError, match=words):
            check_writable(path)
    check_writable(tmp_path / "new" / "out")
    assert not list((tmp_path / "new").iterdir())
