"""The README's tables are made from the stored results, and are up to date."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from vip5.bench.measure import Bench
from vip5.errors import UserError
from vip5.evaluation.results import Results
from vip5.evaluation.tables import markdown

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "readme.py"
SPEC = importlib.util.spec_from_file_location("readme", FILE)
assert SPEC is not None and SPEC.loader is not None
readme = importlib.util.module_from_spec(SPEC)
sys.path.insert(0, str(FILE.parent))  # as when it is run
SPEC.loader.exec_module(readme)

PAGE = """# VIP5

<!-- results:quickstart -->
old
<!-- /results -->

middle

<!-- results:other -->
<!-- /results -->
end
"""


@pytest.fixture
def folder(tmp_path, results):
    results.save(tmp_path / "results" / "quickstart.json")
    results.model_copy(update={"command": r"vip5 \1 other"}).save(tmp_path / "results" / "other.json")
    return tmp_path / "results"


def test_marked_parts_are_filled_and_the_rest_is_left(folder, results):
    page = readme.filled(PAGE, folder)
    assert page.startswith("# VIP5\n\n<!-- results:quickstart -->\n") and page.endswith("<!-- /results -->\nend\n")
    assert markdown(results) in page and r"`vip5 \1 other`" in page
    assert "old" not in page and "\n\nmiddle\n\n" in page


def test_filling_twice_changes_nothing(folder):
    once = readme.filled(PAGE, folder)
    assert readme.filled(once, folder) == once


@pytest.mark.parametrize(
    "page",
    ["<!-- results:quickstart -->\nx\n", "x <!-- /results -->", "<!-- results:quickstart --> x <!-- /results -->"],
)
def test_markers_that_do_not_pair_are_refused(page, folder):
    with pytest.raises(UserError, match="do not pair"):
        readme.filled(page, folder)


def test_missing_results_are_one_clear_line(folder):
    (folder / "other.json").unlink()
    with pytest.raises(UserError, match=r"other\.json"):
        readme.filled(PAGE, folder)


def test_the_command(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(readme, "PAGES", (tmp_path / "README.md",))
    monkeypatch.setattr(readme, "filled", lambda text, fill=readme.filled: fill(text, folder))
    assert readme.main() == 2 and "README.md" in capsys.readouterr().err
    (tmp_path / "README.md").write_text(PAGE)
    assert readme.main() == 0 and "2 tables, rewritten" in capsys.readouterr().out
    assert readme.main() == 0 and "2 tables, up to date" in capsys.readouterr().out


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_the_pages_are_up_to_date(page):
    text = page.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run `make results`"


def test_stored_results_can_be_read():
    for file in readme.RESULTS.glob("*.json"):
        if file.stem in (
            "audit",
            "baselines",
            "codes",
            "history",
            "int8",
            "reference",
            "ties",
            "trials",
            "win",
            "newcomers",
        ):
            assert "data_hash" in file.read_text() and json.loads(file.read_text())["command"]
        else:
            assert Results.load(file).results


def test_stored_speed_can_be_read_and_says_where_it_was_measured():
    for file in (readme.RESULTS / "speed").glob("*.json"):
        found = Bench.model_validate_json(file.read_bytes())
        assert found.machine.cpu and found.command.startswith("vip5 bench") and not found.quick
        assert found.ratio > 0 and all(row.rounds > 1 for row in found.rows if row.unit == "samples")
