"""`vip5 report` as a user types it: a page about an evaluated run, of a model or a baseline."""

import json

import pytest


@pytest.mark.parametrize("scored", [True, False], ids=["model", "baseline"])
def test_a_page(vip5, tiny_run, knn_run, tiny_data, tmp_path, scored):
    run = tiny_run if scored else knn_run
    assert vip5("evaluate", run, "--prompts", "A-3,C-3", "--beams", 10, "--device", "cpu")[0] == 0
    code, out, _ = vip5("report", run, "--device", "cpu")
    assert (code, out) == (0, f"report: {run / 'report.html'}\n")
    page = (run / "report.html").read_text("utf-8")
    titles = [title for title in tiny_data.items["title"] if title.replace("&", "&amp;") in page]
    assert len(titles) > 20 and f"{'VIP5' if scored else 'item-knn'} on {tiny_data.manifest.name}" in page
    assert tiny_data.order_note in page and "what the user had before is left out" in page
    assert page.count('<article class="card case">') == 10
    assert ("Explanation by prompt" in page) == scored
    assert ("with the model" in page) == scored and (" %</span>" in page or "%</span>" in page) == scored
    other = tmp_path / "deep" / "page.html"
    code, out, _ = vip5("report", run, "--out", other, "--json", "--device", "cpu")
    assert code == 0 and json.loads(out) == {"report": str(other)} and other.read_text("utf-8") == page


def test_a_writers_page_has_its_numbers(vip5, sentence_run):
    """It ranks nothing, so nobody's recommendations are shown."""
    assert vip5("evaluate", sentence_run, "--prompts", "C-3")[0] == 0
    assert vip5("report", sentence_run)[0] == 0
    page = (sentence_run / "report.html").read_text("utf-8")
    assert "ROUGE-L" in page and "frequent-sentence" in page and "Some users" not in page


def test_mistakes_are_one_line(refused, vip5, tiny_data, tmp_path):
    assert "is not a finished run" in refused("report", tmp_path)
    assert vip5("baseline", "popularity", tiny_data.path, "--out", tmp_path / "run")[0] == 0
    assert f"evaluate the run first (vip5 evaluate {tmp_path / 'run'})" in refused("report", tmp_path / "run")
