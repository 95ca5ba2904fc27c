"""The command line, in this process."""

import sys

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
