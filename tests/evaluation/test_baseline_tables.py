"""The tables of the baselines: means over seeds beside published numbers, and what was not run."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))  # as when they are run
import baseline_tables


def run(row: str, seed: int, value: float, training: bool = True) -> dict[str, Any]:
    cell = {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 100}
    told = {"epochs": 9, "best_epoch": 4 + seed, "minutes": 3.0, "minutes_to_best": 1.5, "validation": 0.2}
    return {
        "row": row,
        "dataset": "beauty",
        "seed": seed,
        "date": f"2026-01-0{seed + 1}T00:00:00+00:00",
        "machine": {"cpu": "a CPU", "cores": 8},
        "threads": 2,
        "training": told if training else None,
        "test": {"A-3": {metric: cell for metric in ("HR@5", "NDCG@5", "HR@10", "NDCG@10")}},
    }


@pytest.fixture
def folder(tmp_path):
    stored = {
        "command": "benchmarks/baselines.py DATA",
        "version": "1.0",
        "data": {"beauty": {"hash": "abcdef0123456789", "protocol": "clean"}},
        "rows": [
            {"name": "popularity", "title": "popularity", "writes": False, "datasets": ["beauty"]},
            {"name": "hgn", "title": "HGN", "writes": False, "datasets": ["beauty"]},
            {"name": "s3-rec", "title": "S3-Rec", "writes": False, "datasets": ["beauty"]},
            {"name": "p5", "title": "P5", "writes": False, "datasets": ["beauty"]},
            {"name": "nrt", "title": "NRT", "writes": True, "datasets": ["musical"]},
        ],
        "runs": [run("popularity", 0, 0.01, training=False), run("hgn", 0, 0.05), run("hgn", 1, 0.07)],
        "not_run": [],
    }
    (tmp_path / "baselines.json").write_text(json.dumps(stored))
    return tmp_path


def rows_of(page: str, title: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith(f"| {title} ")
    ]


def test_the_full_table(folder):
    page = baseline_tables.baselines(folder)
    assert "**Next item** · beauty, test, protocol clean, data `abcdef012345`" in page
    assert "One of 100" not in page and "Explanation" not in page  # nothing of them was measured
    published, ours = rows_of(page, "HGN")
    assert published[1:6] == ["paper", ".0325", ".0206", ".0512", ".0266"]
    # mean and standard deviation of .05 and .07; epochs 4 and 5
    assert ours[1:] == ["ours", *[".0600 ± .0141"] * 4, "2", ".2000", "4", "1.5", "3.0"]
    _, alone = rows_of(page, "popularity")
    assert alone[2] == ".0100 [.0000, .0200]" and alone[6:] == ["1", "", "", "", ""]
    assert rows_of(page, "S3-Rec")[1][1] == "not run"
    assert not rows_of(page, "NRT")
    assert "2026-01-01 to 2026-01-02; a CPU, 2 of 8 cores" in page


def test_the_short_table(folder):
    page = baseline_tables.summary(folder)
    assert rows_of(page, "HGN")[0][1:3] == [".0512 / .0266", ".0600 / .0600 ± .0141 · 2 seeds · 3.0 min"]
    assert rows_of(page, "popularity")[0][2] == ".0100 / .0100 · 1 seed"
    assert rows_of(page, "S3-Rec")[0][2] == "not run"
    assert rows_of(page, "P5")[0][1] == ".0659 / .0421, LEAKY"


def test_the_table_of_references(tmp_path):
    cells = {"peer": (0.03, 0.02, 0.04), "ours": (0.05, 0.04, 0.06), "difference": (0.02, 0.01, 0.03)}
    ndcg = {name: dict(zip(("value", "low", "high"), numbers, strict=True)) for name, numbers in cells.items()}
    about = {"dataset": "beauty", "data_hash": "abcdef0123456789", "protocol": "clean", "note": "", "system": "bpr-mf"}
    row = about | {
        "peer": "BPR of somebody",
        "library": "somebody 1.0",
        "tried": [{}, {}],
        "settings": {"peer": {"factors": 64}},
        "given": {"dim": 64},
        "epochs": {"peer": 10, "ours": 20},
        "seconds": {"peer": 5.0, "ours": 40.0},
        "same_ranks": {"next item": 0.5},
        "test": {"next item": {"NDCG@10": ndcg}},
    }
    machine = {"cpu": "a CPU", "cores": 8, "python": "3.11", "torch": "2.13"}
    stored = {"command": "x", "date": "2026-01-01", "version": "1.0", "machine": machine, "threads": 1, "rows": [row]}
    (tmp_path / "reference.json").write_text(json.dumps(stored))
    page = baseline_tables.reference(tmp_path)
    expected = ["beauty", "next item", ".0300 [.0200, .0400]", ".0500 [.0400, .0600]", "+.0200 [+.0100, +.0300]"]
    assert rows_of(page, "BPR of somebody") == [["BPR of somebody", *expected, "50.0%", "0.50", "2.00", "10 / 20"]]
    assert "(somebody 1.0): factors 64, best of 2 by validation" in page and "but for bpr-mf dim 64" in page
    assert "data beauty `abcdef012345`" in page


def test_what_is_published_is_of_a_row_that_there_is():
    import tomllib

    bench = Path(baseline_tables.__file__).parent
    rows = {row["name"] for row in tomllib.loads((bench / "baselines.toml").read_text())["rows"]}
    published = tomllib.loads((bench / "published.toml").read_text())
    for found in published["numbers"]:
        assert found["row"] in rows and found["source"] in published["sources"]
        assert found["prompt"] in baseline_tables.TASKS
        for values in found["values"].values():
            assert len(values) == len(found["metrics"]) and all(0 < value < 1 for value in values)


def test_both_policies_on_repeats_and_what_the_data_is(folder):
    file = folder / "baselines.json"
    stored = json.loads(file.read_text())
    other = run("hgn", 0, 0.03)
    stored["runs"] = [
        run("hgn", 0, 0.05)
        | {"notes": ["half of the targets are tied", "repeats may come"]}
        | {"other": {"notes": ["half of the targets are tied", "repeats are left out"], "test": other["test"]}}
    ]
    file.write_text(json.dumps(stored))
    page = baseline_tables.baselines(folder)
    assert "`abcdef012345`; half of the targets are tied; repeats may come" in page
    assert "`abcdef012345`; half of the targets are tied; repeats are left out" in page
    assert [row[4] for row in rows_of(page, "HGN") if row[1] == "ours"] == [
        ".0500 [.0400, .0600]",
        ".0300 [.0200, .0400]",
    ]
