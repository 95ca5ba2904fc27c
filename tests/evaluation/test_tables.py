"""Tables of more than accuracy: each side has a table of its own, rules stand last, and the audit is never left out."""

import pytest

from vip5.evaluation.intervals import Estimate
from vip5.evaluation.report import write_report
from vip5.evaluation.results import Result, Results
from vip5.evaluation.tables import BEYOND, GROUPS, audit_lines, caption, markdown, sections, table

NAN = float("nan")
ABOUT = {"dataset": "demo", "data_hash": "c0ffee", "protocol": "clean", "split": "test", "task": "next item", "seed": 0}
OWN = ABOUT | {"prompt": "A-3", "model": "VIP5"}
RESULTS = [
    Result.of(Estimate(0.05, 0.04, 0.06, 600), **OWN, metric="HR@10"),
    Result.of(Estimate(0.31, NAN, NAN, 600), **OWN, metric="coverage@10"),
    Result.of(Estimate(12.5, 12.0, 13.0, 600), **OWN, metric="popularity@10"),
    Result.of(Estimate(0.02, 0.01, 0.03, 200), **OWN, metric="HR@10", group="history 1-4"),
    Result.of(Estimate(0.06, 0.05, 0.07, 400), **OWN, metric="HR@10", group="history 5-9"),
    Result.of(
        Estimate(0.01, 0.0, 0.02, 600), Estimate(0.015, NAN, NAN, 600), metric="HR@10", kind="control",
        baseline="chance", **(OWN | {"model": "VIP5, shuffled targets"}),
    ),
    Result.of(Estimate(0.045, 0.04, 0.05, 600), **ABOUT, prompt="rule", model="id + 1", metric="HR@10", kind="rule"),
]  # fmt: skip
LEAKY = {"codes": "paper", "verdict": "leaky", "reasons": ["codes: they leak"], "checks": [{"name": "codes"}]}


def test_each_side_has_a_table():
    found = sections(RESULTS)
    assert [section.about for section in found] == ["", BEYOND, GROUPS] and [s.n for s in found] == [600, 600, 600]
    assert [row.system for row in found[0].rows] == ["VIP5", "VIP5, shuffled targets", "chance", "id + 1"]
    assert found[1].metrics == ["coverage@10", "popularity@10"]
    assert [row.system for row in found[2].rows] == ["VIP5: history 1-4", "VIP5: history 5-9"]


def test_numbers_without_an_interval_and_in_their_own_units():
    head, rows = table(RESULTS)
    cells = {row[0].strip(): row[1:] for row in [head, *rows] if row}
    assert cells["rule  id + 1"][0] == ".0450 ±.0050" and cells["chance"][0] == ".0150"
    assert cells["next item · n 600 · beyond accuracy"][:2] == ["coverage@10", "popularity@10"]
    assert ["A-3   VIP5", ".3100", "12.50 ±0.50"] in [row[:3] for row in rows]


def test_the_audit_goes_with_every_table(tmp_path):
    clean = LEAKY | {"verdict": "clean", "reasons": []}
    assert audit_lines(None) == [] and audit_lines(clean) == [
        "Audit: clean, 1 checks of the data and of the codes paper."
    ]
    leaky = Results.record(RESULTS, "vip5 evaluate x", audit=LEAKY)
    for page in (markdown(leaky), caption(leaky.results, leaky.audit)):
        assert "LEAKY, these numbers prove nothing" in page and "- codes: they leak" in page
    write_report(tmp_path / "r.html", "x", [leaky])
    page = (tmp_path / "r.html").read_text()
    assert "these numbers prove nothing" in page and "Rules that need no training" in page and "id + 1" in page
    leaky.save(tmp_path / "r.json")
    assert Results.load(tmp_path / "r.json") == leaky


def test_an_interval_has_both_bounds():
    with pytest.raises(ValueError, match="both bounds or none"):
        Result.of(Estimate(0.1, 0.0, NAN, 5), **OWN, metric="HR@10")
