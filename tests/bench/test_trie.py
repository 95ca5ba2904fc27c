"""`vip5 bench trie` measures what it says: distinct codes, peers that allow the same, ratios that are numbers."""

import json
import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vip5.bench import trie
from vip5.bench.trie import CODEBOOK, KINDS, TEXT, Dictionaries, codes_of
from vip5.cli.main import app
from vip5.items import Trie


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_distinct_and_of_four_tokens(kind):
    for n in (1, 300, 20_000):
        codes = codes_of(kind, n)
        assert codes.shape == (n, 5) and (codes[:, -1] == 1).all() and codes[:, :4].min() >= TEXT
        assert len(np.unique(codes, axis=0)) == n
        levels = [set(column) for column in codes[:, :4].T]
        assert len(set.union(*levels)) == sum(map(len, levels))  # no token on two levels
        if kind == "even":
            built = Trie.build(codes)
            inner = (built.child_start.diff() > 0) & (built.parent >= 0)
            assert (built.child_start.diff()[inner] != 8).sum() <= 3  # the last of a level may have fewer
        else:
            assert all(len(level) <= CODEBOOK for level in levels)


def test_codes_are_the_same_again():
    assert (codes_of("skewed", 500) == codes_of("skewed", 500)).all()
    assert (codes_of("skewed", 500) != codes_of("skewed", 500, seed=1)).any()


def test_dictionaries_allow_what_may_follow():
    peer = Dictionaries(np.array([[5, 6, 1], [5, 7, 1], [8, 1, 0]]), torch.zeros(1, 9))
    assert peer.allowed([]) == [5, 8] and peer.allowed([5]) == [6, 7]
    assert peer.allowed([9]) == [] and peer.allowed([5, 9]) == []


@pytest.mark.slow
def test_quick_through_the_command_line(tmp_path):
    threads, arguments = torch.get_num_threads(), ["--items", "3000", "--rows", "2", "--beams", "5", "--rounds", "2"]
    try:
        done = CliRunner().invoke(
            app,
            ["bench", "trie", *arguments, "--threads", "1", "--quick", "--json", "--out", str(tmp_path / "trie.json")],
        )
    finally:
        torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "trie.json").read_text())
    assert found["quick"] and found["threads"] == 1
    assert found["ratio"] == found["ratios"]["dictionaries over vip5, random codes, 3,000 items"]
    assert all(math.isfinite(value) and value > 0 for value in found["ratios"].values())
    assert len(found["checks"]) == 2 and all(found["checks"].values())
    rows = {row["method"]: row for row in found["rows"]}
    build = rows["vip5: build, random codes, 3,000 items"]
    assert build["unit"] == "items" and 0 < build["reached"] < 1 and build["peak_mib"] > build["beyond_mib"] >= 0
    assert {f"vip5: mask, {kind} codes, 3,000 items" for kind in KINDS} < set(rows)
    assert found["sizes"]["trie bytes an item, random codes, 3,000 items"] < 30


@pytest.mark.slow
def test_the_slowest_catalogue_over_the_fastest(monkeypatch):
    monkeypatch.setattr(trie, "peak_memory", lambda *_: {})
    found = trie.bench([2000, 300], rows=2, beams=5, rounds=2, quick=True)
    assert all(found.ratios[f"slowest over fastest catalogue, {kind} codes"] >= 1 for kind in KINDS)
    assert found.ratio == found.ratios["dictionaries over vip5, random codes, 2,000 items"]  # of the largest
    assert all(found.checks.values()) and len(found.checks) == 4
