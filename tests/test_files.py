"""Files are whole or not there, several of them together; locks; what cannot be written is found before the work."""

import ast
import json
from pathlib import Path

import pytest

from vip5.errors import UserError
from vip5.files import check_writable, written_aside, written_together
from vip5.lock import held
from vip5.model.t5 import _read_weights
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


def test_a_full_disk_is_one_line_whoever_writes(tmp_path: Path) -> None:
    for error in (OSError(28, "No space left on device"), ValueError("parquet: No space left on device (os error 28)")):
        line = r"cannot write .*out \(No space left on device.*\): make room"
        with pytest.raises(UserError, match=line), written_aside(tmp_path / "out") as aside:
            aside.write_text("half")
            raise error
    with pytest.raises(ValueError, match="ours"), written_aside(tmp_path / "out"):
        raise ValueError("ours")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "..", "sub\\part.safetensors"])
def test_shards_stay_inside_their_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"shared.weight": name}}))
    with pytest.raises(UserError, match="is no file of its folder"):
        _read_weights(tmp_path)
