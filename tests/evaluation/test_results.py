"""Results keep what is needed to doubt them, survive a save, and print as tables that say what they are."""

import json

import pytest
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

import vip5.evaluation.results as module
from vip5.errors import UserError
from vip5.evaluation.intervals import Difference, Estimate
from vip5.evaluation.results import Machine, Result, Results
from vip5.evaluation.tables import caption, markdown, sections, table

from .conftest import make_results

ABOUT = {
    "dataset": "demo", "data_hash": "ab12", "protocol": "clean", "split": "test", "task": "next item", "prompt": "A-3",
    "metric": "HR@10", "model": "VIP5", "seed": 0,
}  # fmt: skip
OWN = Estimate(0.0921, 0.0883, 0.0959, 22363)


def test_save_and_load_give_the_same(results, tmp_path):
    file = tmp_path / "new" / "results.json"
    results.save(file)
    assert Results.load(file) == results
    assert [p.name for p in file.parent.iterdir()] == ["results.json"]
    first = json.loads(file.read_text())["results"][0]
    assert {"protocol", "prompt", "metric", "value", "low", "high", "baseline", "seed", "data_hash", "n"} <= set(first)


def test_a_write_that_fails_leaves_the_old_file(results, tmp_path, monkeypatch):
    file = tmp_path / "results.json"
    results.save(file)
    old = file.read_bytes()

    def broken(*_):
        raise OSError("no space left")

    monkeypatch.setattr(module.os, "replace", broken)
    with pytest.raises(UserError, match="no space"):
        make_results(seed=5).save(file)
    assert file.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("content", [None, "", "{", '{"results": []}', "[1]"])
def test_what_is_no_file_of_results_is_one_clear_line(content, tmp_path):
    file = tmp_path / "x.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=r"x\.json") as caught:
        Results.load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"task": "one of many"}, {"protocol": "best"}, {"split": "train"}, {"value": float("nan")}, {"n": 0}, {"luck": 1},
     {"baseline": "popularity"}, {"difference": 0.1}],
)  # fmt: skip
def test_a_result_is_whole_and_well_named(wrong):
    with pytest.raises(ValidationError):
        Result(**(ABOUT | {"value": 0.1, "low": 0.0, "high": 0.2, "n": 10} | wrong))


def test_a_result_from_estimates():
    result = Result.of(OWN, Estimate(0.0115, 0.0102, 0.0129, 22363), Difference(0.08, 0.07, 0.09, 0.001), **ABOUT,
                       baseline="popularity")  # fmt: skip
    assert (result.value, result.low, result.high, result.n) == OWN
    assert (result.baseline, result.baseline_value, result.difference_high, result.p) == (
        "popularity",
        0.0115,
        0.09,
        0.001,
    )
    assert Result.of(OWN, **ABOUT).baseline_value is None


def test_one_number_has_one_value(results):
    with pytest.raises(ValidationError, match="two values of HR@5"):
        Results(**{**results.model_dump(), "results": [*results.results, results.results[0]]})


def test_results_that_contradict_each_other_are_not_shown():
    one = Result.of(OWN, OWN, **ABOUT, baseline="popularity")
    two = Result.of(OWN, OWN._replace(value=0.09), **(ABOUT | {"model": "other"}), baseline="popularity")
    with pytest.raises(ValueError, match="two values of HR@10 for popularity"):
        sections([one, two])


def test_record_says_where_and_when(results):
    recorded = Results.record(results.results, command="vip5 evaluate runs/x", decoding={"beams": 20})
    assert recorded.machine == Machine.here() and recorded.machine.cores >= 1 and recorded.machine.cpu
    assert recorded.date.endswith("+00:00") and recorded.command == "vip5 evaluate runs/x"
    assert "tok:13a" in recorded.metrics["BLEU"]


def printed(columns, rows, note="", width=120) -> list[str]:
    drawn = Table(caption=note, caption_justify="left")
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().splitlines()


def test_the_table_fits_120_columns_and_folds_nothing(results):
    columns, rows = table(results.results)
    lines = printed(columns, rows)
    assert len(lines) == len(rows) + 4  # a frame and a heading, and no cell on two lines
    assert max(map(len, lines)) <= 120
    assert len({len(row) for row in [columns, *rows]}) == 1


def test_the_table_has_every_number_beside_its_baseline(results):
    columns, rows = table(results.results)
    assert columns[:5] == ["next item · n 600", "HR@5", "NDCG@5", "HR@10", "NDCG@10"]
    assert [row[0] for row in rows[:6]] == [
        "A-3   VIP5", "      VIP5 without photos", "      popularity",
        "A-9   VIP5", "      VIP5 without photos", "      popularity",
    ]  # fmt: skip
    assert rows[0][1] == ".0500 ±.0075"
    assert rows[2][1] == ".0100 ±.0015"
    assert rows[7] == ["one of 100 · n 600", "HR@1=NDCG@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10"]
    assert rows[15][:5] == ["explanation in % · n 600", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L"]
    assert rows[16][1] == "10.00 ±1.50"
    assert rows[18][0] == "      most frequent sentence"


def test_a_leaky_protocol_is_named_wherever_its_numbers_are():
    leaky = make_results(protocol="paper")
    columns, rows = table(leaky.results)
    assert "LEAKY" in columns[0]
    assert sum("LEAKY" in row[0] for row in rows) == 2
    assert "paper — leaky" in caption(leaky.results)
    assert markdown(leaky).count("paper — leaky") == 3
    assert "leaky" not in caption(make_results().results) + markdown(make_results())


def test_several_seeds_and_data_sets_are_told_apart():
    both = [*make_results(models=("VIP5",)).results, *make_results(models=("VIP5",), seed=1).results]
    systems = [row[0][6:] for row in table(both)[1][:4]]
    assert systems == ["VIP5, seed 0", "VIP5, seed 1", "popularity, seed 0", "popularity, seed 1"]
    two = [*make_results().results, *make_results(dataset="beauty", data_hash="d00d").results]
    headings = [cell for cell in [table(two)[0][0], *(row[0] for row in table(two)[1])] if "next item" in cell]
    assert headings == ["demo test: next item · n 600", "beauty test: next item · n 600"]


def test_a_model_that_is_also_a_baseline_stands_once():
    rows = sections([
        Result.of(OWN, OWN, Difference(0.0, -0.1, 0.1, 1.0), **ABOUT, baseline="without photos"),
        Result.of(OWN, **(ABOUT | {"model": "without photos"})),
    ])[0].rows  # fmt: skip
    assert [(row.system, row.kind) for row in rows] == [
        ("VIP5", "model"), ("without photos", "model"), ("VIP5 − without photos", "difference"),
    ]  # fmt: skip


def test_unusual_metrics_are_shown_when_there_are_no_usual_ones():
    shown = sections([Result.of(OWN, **(ABOUT | {"metric": "MRR@20"}))])[0]
    assert shown.metrics == ["MRR@20"]
    assert table([]) == ([], [])


def test_markdown_has_intervals_differences_and_the_source(results):
    page = markdown(results)
    assert "| A-3 | VIP5 | .0500 [.0450, .0600] |" in page
    assert "| A-3 | VIP5 − popularity | +.0400 [+.0350, +.0500] |" in page
    assert "| B-5 | popularity | .0100 [.0080, .0110] |" in page
    for said in ("`vip5 quickstart`", "`c0ffeec0ffee`", "Some CPU, 2 cores", "2030-01-02", "torch 2.13.0", "seed 0"):
        assert said in page
    for lines in (block.splitlines() for block in page.split("\n\n") if block.startswith("|")):
        assert len({line.count("|") for line in lines}) == 1


def test_markdown_cells_hold_hostile_names():
    page = markdown(make_results(models=("a|b\nc",)))
    assert "| a\\|b c |" in page
