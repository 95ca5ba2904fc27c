"""The table of ties: one row for each set and order of ties, the shuffles' seeds together."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))  # as when they are run
import own_tables


def row(dataset: str, how: str, seed: int, hit: float, *, timed: bool = True) -> dict[str, Any]:
    found = {"value": hit, "low": hit - 0.01, "high": hit + 0.01, "n": 1000}
    numbers = {"HR@1": found, "HR@10": found}
    return {
        "dataset": dataset,
        "data_hash": f"{dataset}{how}{seed}0123456789",
        "order": "time" if timed else "position",
        "ties": how,
        "seed": seed,
        "n": 1000,
        "tied_tests": 250 if timed else None,
        "tied_share": 0.25 if timed else None,
        "check": {"status": "leak" if how == "file" and timed else "note" if timed else "ok", "words": ""},
        "rule": {"all": numbers, "tied": numbers} if timed else {"all": numbers},
    }


def test_the_table_of_ties(tmp_path):
    shuffles = [row("shop", "shuffle", seed, hit) for seed, hit in enumerate((0.02, 0.03, 0.07))]
    stored = {
        "command": "benchmarks/ties.py TABLES",
        "date": "2026-01-01T00:00:00+00:00",
        "version": "1.0",
        "machine": {"cpu": "a CPU", "cores": 8, "python": "3.11"},
        "rows": [row("amazon", "file", 0, 0.05, timed=False), row("shop", "file", 0, 0.25), *shuffles],
    }
    (tmp_path / "ties.json").write_text(json.dumps(stored))
    page = own_tables.ties(tmp_path)
    lines = page.split("\n\n")[0].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert head[4:] == ["HR@1, all", "HR@10, all", "HR@1, tied", "HR@10, tied", "audit"]
    bounds, mean = ".0500 [.0400, .0600]", ".0400 (.0200–.0700)"
    assert rows == [
        ["amazon", "comes with an order and no time", "1,000", "–", bounds, bounds, "–", "–", "ok"],
        ["shop", "the file's", "1,000", "25.0%", *[".2500 [.2400, .2600]"] * 4, "leak"],
        ["shop", "shuffled", "1,000", "25.0%", *[mean] * 4, "note"],
    ]
    assert "of the shuffle's seeds 0, 1, 2" in page and "amazon `amazonfile00`" in page
    assert "shop `shopfile0012`, `shopshuffle0`, `shopshuffle1`, `shopshuffle2`" in page
    assert "`benchmarks/ties.py TABLES` (vip5 1.0) on 2026-01-01; a CPU, 8 cores" in page
