"""What a command prints, wherever it goes: a terminal, a pipe that is closed, a full disk, a console of ASCII."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vip5.cli.options import printable
from vip5.files import to_json
from vip5.lock import held

TITLES = [
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "long " * 1499 + "end",
    "Crème brûlée 日本",
    "two\nlines\tand\u202eturned",
    "[bold]x[/]",
]


def vip5(*arguments: str | Path, out=subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vip5", *map(str, arguments)]
    return subprocess.run(
        command, stdout=out, stderr=subprocess.PIPE, text=True, env=os.environ | environment, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A fitted baseline of a shop with such titles."""
    folder = tmp_path_factory.mktemp("titles")
    bought = [(f"u{u}", f"i{(3 * u + n) % 5}", 1000 * n + u) for u in range(9) for n in range(4)]
    for name, rows in (
        ("interactions", [("user", "item", "timestamp"), *bought]),
        ("items", [("item", "title"), *((f"i{n}", title) for n, title in enumerate(TITLES))]),
    ):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    tables = (f"--{name}={folder / name}.csv" for name in ("interactions", "items"))
    assert vip5("data", "prepare", folder / "data", *tables, "--candidates=1").returncode == 0
    assert vip5("baseline", "popularity", folder / "data", "--out", folder / "run").returncode == 0
    return folder / "run"


def asked(run: Path) -> list[str | Path]:
    return ["recommend", run, "--user", "u1", "-n", "5", "--allow-again"]


def test_titles_do_not_steer_the_terminal_nor_fill_it(run):
    shown = vip5(*asked(run)).stdout
    assert "red" in shown and "Crème brûlée 日本" in shown and "[bold]x[/]" in shown and "two lines and" in shown
    assert not any(steers in shown for steers in "\x1b\x07\u202e")
    assert len(shown.splitlines()) < 20
    found = json.loads(vip5(*asked(run), "--json").stdout)
    assert {item["title"] for item in found["items"]} == set(TITLES)  # whole, for programs


def test_a_console_of_ascii_shows_what_it_can(run):
    shown = vip5(*asked(run), PYTHONIOENCODING="ascii")
    assert shown.returncode == 0 and "Cr?me br?l?e" in shown.stdout
    found = json.loads(vip5(*asked(run), "--json", PYTHONIOENCODING="ascii").stdout)
    assert {item["title"] for item in found["items"]} == set(TITLES)


def test_an_id_in_an_error_is_one_line_without_codes(run):
    done = vip5("recommend", run, "--history", "\x1b[31mi9\ni0")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "\x1b" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_output_that_cannot_be_written_is_one_line(run, more):
    with open("/dev/full", "w") as full:
        done = vip5(*asked(run), *more, out=full)
    said = "error: cannot write the output (No space left on device): make room, or write elsewhere\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_reader_that_has_gone_is_no_fault(run):
    command = f"'{sys.executable}' -m vip5 recommend '{run}' --user u1 --allow-again --json | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_two_evaluations_of_one_run_do_not_mix(run):
    with held(run / ".lock", "busy"):
        done = vip5("evaluate", run)
    assert done.returncode == 2 and f"another process evaluates {run}: wait for it to end" in done.stderr
    assert not (run / "results.json").exists()
    assert vip5("evaluate", run).returncode == 0 and (run / "results.json").is_file()
    assert not (run / ".lock").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_found_before_the_work(run, tmp_path):
    tmp_path.chmod(0o500)
    done = vip5("evaluate", run, "--json", tmp_path / "results.json")
    assert done.returncode == 2 and "Permission denied" in done.stderr


def test_a_file_that_cannot_be_written_is_found_before_the_work(run, tmp_path):
    (tmp_path / "file").touch()
    before = (run / "results.json").read_bytes() if (run / "results.json").exists() else None
    done = vip5("evaluate", run, "--json", tmp_path / "file/results.json")
    assert done.returncode == 2 and done.stderr.startswith("error: cannot write ")
    assert before == ((run / "results.json").read_bytes() if (run / "results.json").exists() else None)


def test_json_has_no_number_that_is_not_finite():
    given = {"a": [1.5, float("nan"), {"b": float("inf")}], "c": (float("-inf"), "x"), "d": None}
    assert json.loads(to_json(given), parse_constant=pytest.fail) == {
        "a": [1.5, None, {"b": None}],
        "c": [None, "x"],
        "d": None,
    }


def test_printable_is_one_line_of_at_most_so_many_characters():
    assert printable("a\n\tb \x1b[2J") == "a b \ufffd[2J"
    assert printable("abcdef", 4) == "abc…" and printable("abcd", 4) == "abcd"
