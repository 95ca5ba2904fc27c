"""The command line, in this process."""

import shutil
import sys
from pathlib import Path

import pytest

from vip5.cli.main import main


@pytest.fixture
def vip5(monkeypatch, capsys):
    """Run a command as it is typed: exit code, what it printed, what it said on standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["vip5", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def refused(vip5):
    """The one line that a mistake gives, with exit code 2."""

    def run(*words: object) -> str:
        code, out, err = vip5(*words)
        assert code == 2 and out == "", (code, out, err)
        assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err, err
        return err

    return run


@pytest.fixture(scope="module")
def tiny_run(tiny_run, tmp_path_factory) -> Path:
    """A copy: `vip5 evaluate` leaves files in it."""
    return Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("cli") / "tiny"))


@pytest.fixture(scope="module")
def knn_run(tiny_data, tmp_path_factory) -> Path:
    """The run of a baseline that ranks."""
    return _fitted("item-knn", tiny_data, tmp_path_factory)


@pytest.fixture(scope="module")
def sentence_run(tiny_data, tmp_path_factory) -> Path:
    """The run of a baseline that writes."""
    return _fitted("frequent-sentence", tiny_data, tmp_path_factory)


def _fitted(name: str, dataset, folders: pytest.TempPathFactory) -> Path:
    from vip5.predict.baseline import fit_run

    out = folders.mktemp("cli") / name
    fit_run(name, dataset, out, {}, f"vip5 baseline {name}")
    return out


@pytest.fixture(scope="module")
def user(tiny_data) -> str:
    return tiny_data.users["user"][0]


@pytest.fixture(scope="module")
def items(tiny_data) -> list[str]:
    return tiny_data.items["item"].to_list()
