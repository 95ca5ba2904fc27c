"""The tables of VIP5 beside every baseline, from a stored file made by hand."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "win_tables.py"
SPEC = importlib.util.spec_from_file_location("win_tables", FILE)
assert SPEC is not None and SPEC.loader is not None
win_tables = importlib.util.module_from_spec(SPEC)
sys.path.insert(0, str(FILE.parent))
SPEC.loader.exec_module(win_tables)


def row(system: str, metric: str, mean: float, difference: float | None = None) -> dict:
    about = {"data": "shop", "data_hash": "c0ffee" * 8, "protocol": "clean", "task": "next", "metric": metric}
    found = about | {"system": system, "mean": mean, "low": mean - 0.01, "high": mean + 0.01, "seeds": 3}
    if difference is None:
        return found
    between = {"difference_low": difference - 0.005, "difference_high": difference + 0.005}
    return found | {"difference": difference, **between, "p": 0.0312}


@pytest.fixture
def folder(tmp_path) -> Path:
    systems = [
        ("vip5", "VIP5", None),
        ("knn", "item-kNN", "item-knn"),
        ("rules", "rules", "rules"),
        ("cut", "cut", None),
    ]
    rows = [
        row("vip5", "HR@10", 0.11), row("knn", "HR@10", 0.05, 0.06), row("rules", "HR@10", 0.10, 0.01),
        row("cut", "HR@10", 0.12, -0.01),
        row("vip5", "NDCG@10", 0.065), row("knn", "NDCG@10", 0.03, 0.035), row("rules", "NDCG@10", 0.06, 0.005),
        row("cut", "NDCG@10", 0.07, -0.005),
    ]  # fmt: skip
    stored = {
        "command": "made by hand", "date": "2030-01-02T00:00:00", "version": "1",
        "machine": {"cpu": "Some", "cores": 2},
        "systems": [{"name": n, "title": t, "settings": [], "of": None, "row": r} for n, t, r in systems],
        "rows": rows,
        "trainings": [{"data": "shop", "system": "vip5", "seed": 0, "epochs": 20, "best_epoch": 14, "validation": 0.07,
                       "seconds": 300.0}],
    }  # fmt: skip
    (tmp_path / "win.json").write_text(json.dumps(stored))
    return tmp_path


def test_the_best_baseline_of_a_set_stands_beside_vip5(folder):
    """Not a cut-down VIP5, which is no baseline, though it is better here."""
    lines = [line for line in win_tables.summary(folder).splitlines() if line.startswith("| shop")]
    assert lines == [
        "| shop | next item | .1100 [.1000, .1200] | .0650 [.0550, .0750] | rules | .0600 [.0500, .0700] "
        "| +.0050 [.0000, .0100] | .0312 |"
    ]


def test_every_system_stands_in_the_long_table_the_best_first(folder):
    page = win_tables.systems(folder)
    names = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ") and "seed" not in line]
    assert names[1:5] == ["| VIP5", "| cut", "| rules", "| item-kNN"]
    assert "| −.0050 [−.0100, .0000] | .0312 |" in page and "| shop | VIP5 | 0 | 20 | 14 | .0700 | 5.0 |" in page
    assert "`c0ffeec0ffee`" in page and "made by hand" in page


def test_explanations_stand_with_what_was_written(folder):
    """Paired differences where there are some, and none of an angle bracket or a bar breaks the page."""
    stored = json.loads((folder / "win.json").read_text())
    about = {"data": "shop", "task": "explain", "prompt": "C-3", "low": 1.0, "high": 2.0, "data_hash": "c0ffee" * 8}
    above = {"difference": 0.5, "difference_low": 0.1, "difference_high": 0.9, "p": 0.02}
    stored["rows"] += [
        about | {"system": "vip5", "metric": "BLEU-4", "mean": 1.5},
        about | {"system": "vip5", "metric": "USR", "mean": 30.0, "low": None, "high": None},
        about | {"system": "knn", "metric": "BLEU-4", "mean": 1.0} | above,
    ]
    said = [{"user": "u", "item": "i", "written": "a <b> | c", "truth": "d"}]
    stored["sentences"] = [{"data": "shop", "task": "explain", "prompt": "C-3", "system": "vip5", "sentences": said}]
    (folder / "win.json").write_text(json.dumps(stored))
    page = win_tables.explanations(folder)
    assert "| VIP5 | 1.50 [1.00, 2.00] | 30.00 |" in page
    assert "| item-kNN | 1.00 [1.00, 2.00] *+0.50, p .0200* |  |" in page
    assert "| a &lt;b> \\| c | d |" in page and "1 sentences of VIP5" in page
    assert "explain" not in win_tables.summary(folder)
