"""`vip5 bench prepare`: the peer finds the same, the table is what it says, and the numbers are whole."""

import json
import os
from collections import namedtuple
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from vip5.bench import prepare
from vip5.bench.measure import alone
from vip5.bench.prepare import PEER, write_interactions
from vip5.cli.main import app
from vip5.errors import UserError


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POLARS_MAX_THREADS", "1")  # and back afterwards
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_through_the_command_line(tmp_path: Path) -> None:
    arguments = ["bench", "prepare", "--interactions", "4000", "--users", "300", "--items", "50", "--k-core", "4"]
    written = tmp_path / "prepare.json"
    done = CliRunner().invoke(app, [*arguments, "--quick", "--threads", "1", "--json", "--out", str(written)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads(written.read_text())
    assert found["checks"] == {f"{PEER} finds the same test items": True}
    assert found["ratio"] > 0 and found["threads"] == 1 and found["bench"] == "prepare"
    large, ours, theirs = found["rows"]
    assert (large["method"], ours["rounds"], theirs["rounds"]) == ("vip5", 1, 1)
    assert 0 < large["floor"] < large["seconds"] and large["reached"] == pytest.approx(
        large["floor"] / large["seconds"]
    )
    assert large["median"] == pytest.approx(4000 / large["seconds"])
    assert all(row["peak_mib"] > row["beyond_mib"] >= 0 for row in found["rows"])
    sizes = found["sizes"]
    assert 200 < sizes["users"] <= 300 and sizes["items"] <= 50
    assert sizes["written MiB"] > 0 < sizes["read MiB"]
    assert 0 < sizes["candidates"] < 50 * sizes["users"]  # nobody can be given what they took


def test_the_table_is_as_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_AT_ONCE", 1000)
    for name in ("one", "two"):
        write_interactions(tmp_path / name, 20_001, 1500, 400)
    table = pl.read_parquet(tmp_path / "one")
    assert table.equals(pl.read_parquet(tmp_path / "two")) and sorted(p.name for p in tmp_path.iterdir()) == [
        "one", "two"
    ]  # fmt: skip
    assert table.schema == {"user": pl.String, "item": pl.String, "timestamp": pl.Int64, "rating": pl.Float32}
    assert table.height == 20_001 and table["timestamp"].is_sorted() and table["timestamp"].is_unique().all()
    assert table["user"].str.contains(r"^U\d{7}$").all() and table["item"].str.contains(r"^I\d{6}$").all()
    users = table["user"].value_counts()["count"]
    assert len(users) == 1500 and users.min() >= 3 and users.max() > 5 * users.median()
    items = table["item"].value_counts(sort=True)["count"]
    assert len(items) <= 400 and items[0] > 3 * items[len(items) // 2]


def test_what_cannot_be_done_is_said_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="100 interactions of 40 users: give three or more a user"):
        prepare.bench_prepare(100, users=40)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda _: usage(0, 0, 2**30))
    with pytest.raises(UserError, match=r"9.3 GiB are needed and 1.0 are free .*: name a larger disk with TMPDIR"):
        prepare.bench_prepare(99_000_000, threads=1)


@pytest.mark.slow
def test_alone_the_peak_is_that_of_the_work() -> None:
    (_, little), (seconds, much) = (alone(partial, os.urandom, size) for size in (1, 200 * 2**20))
    assert seconds > 0
    if Path("/proc/self/status").is_file():
        assert 190 < much["beyond_mib"] - little["beyond_mib"] < 230 and much["peak_mib"] > much["beyond_mib"]
