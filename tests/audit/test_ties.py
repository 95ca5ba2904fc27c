"""Purchases of one moment: an order that follows the ids gives the answer away, one that is drawn does not."""

import numpy as np
import polars as pl
import pytest

from vip5.audit.audit import audit
from vip5.audit.leaks import Finding, tied_targets, ties
from vip5.data import Dataset, prepare
from vip5.evaluation.held_out import HeldOut
from vip5.items import code_items


@pytest.fixture(scope="module")
def receipts(tmp_path_factory) -> dict[str, Dataset]:
    """200 people who buy 5 of 300 items without any taste, 4 of them at one moment; the table stands in id order."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("receipts")
    rows = []
    for user in range(200):
        first, *others = rng.choice(300, 5, replace=False)
        rows += [(f"u{user:03}", f"i{first:03}", 0), *((f"u{user:03}", f"i{item:03}", 1) for item in sorted(others))]
    pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_csv(folder / "buys.csv")
    return {how: prepare(folder / how, interactions=folder / "buys.csv", ties=how) for how in ("file", "shuffle")}


def found(dataset: Dataset) -> Finding:
    return ties(dataset, HeldOut.of(dataset))


def test_ties_in_the_order_of_ids_are_a_leak(receipts):
    finding = found(receipts["file"])
    assert finding.status == "leak" and finding.figure < 1e-9
    assert "their order gives the answer away" in finding.words and "prepare with --ties shuffle" in finding.words
    assert "100.0% of the test targets carry the same time as the purchase before" in finding.words
    assert "the higher raw id comes later in 100.0% of these" in finding.words


def test_ties_in_a_drawn_order_are_a_note(receipts):
    finding = found(receipts["shuffle"])
    assert (finding.status, finding.figure) == ("note", 1.0) and receipts["shuffle"].manifest.ties == "shuffle"
    assert "was drawn (seed 0)" in finding.words


def test_the_verdict_and_a_rule_show_it(receipts):
    """The item whose id comes next is found far above chance in one of them alone."""
    rates, reasons = {}, {}
    for how in ("file", "shuffle"):
        done = audit(receipts[how], code_items("atomic", receipts[how]).words, fitted={})
        reasons[how] = done.reasons
        rule = next(row for row in done.rows if (row.rule, row.task) == ("next higher raw id", "next item"))
        rates[how] = rule.metrics["HR@10"]
    assert [reason.partition(":")[0] for reason in reasons["file"]] == ["ties in time"] and reasons["shuffle"] == []
    assert rates["file"].low > 2 * rates["shuffle"].value


def test_tied_targets_by_hand(receipts, make_shop):
    """Times 0, 1, 2, … have no ties; where ann's last two are of one time, hers is the tied one of two."""
    plain = make_shop({"ann": "vwxyz", "bob": "zyxwv"})
    assert tied_targets(plain, HeldOut.of(plain)).tolist() == [False, False]
    assert (found(plain).status, found(plain).figure) == ("ok", 0.0)
    last = pl.when((pl.col("user") == 0) & (pl.col("position") == 4)).then(3).otherwise("timestamp")
    plain.__dict__["interactions"] = plain.interactions.with_columns(timestamp=last.cast(pl.Int64))
    assert tied_targets(plain, HeldOut.of(plain)).tolist() == [True, False]
    assert found(plain).status == "note" and found(plain).figure == 0.5


def test_without_times_the_order_is_said(tmp_path):
    pl.DataFrame({"user": list("aaabbb"), "item": list("xyzxzy")}).write_csv(tmp_path / "buys.csv")
    dataset = prepare(tmp_path / "shop", interactions=tmp_path / "buys.csv")
    finding = found(dataset)
    assert (finding.status, finding.figure) == ("ok", None) and tied_targets(dataset, HeldOut.of(dataset)) is None
    assert finding.words == dataset.order_note == "no times are given; the order is that of the file"


def test_who_ties_is_not_tested_where_ties_are_dropped(tmp_path):
    rows = [(user, item, time) for user in "abc" for time, item in enumerate("vwxyz")]
    rows[4] = ("a", "z", 3)
    pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_csv(tmp_path / "buys.csv")
    dataset = prepare(tmp_path / "shop", interactions=tmp_path / "buys.csv", ties="drop")
    tested = HeldOut.of(dataset)
    assert tested.users.tolist() == [1, 2] and (found(dataset).status, found(dataset).figure) == ("ok", 0.0)


def test_a_few_neighbours_in_order_are_a_leak_too(tmp_path):
    """One in fifteen ties with the item of the next id, in the order of ids; all others are drawn."""
    rng, rows = np.random.default_rng(0), []
    for user in range(600):
        first, last, target = rng.choice(300, 3, replace=False)
        if user % 15 == 0:
            last, target = sorted((first + 100) % 299 + step for step in (0, 1))
        rows += [(f"u{user:03}", f"i{item:03}", time) for item, time in ((first, 0), (last, 1), (target, 1))]
    pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_csv(tmp_path / "buys.csv")
    finding = found(prepare(tmp_path / "shop", interactions=tmp_path / "buys.csv", ties="file"))
    assert finding.status == "leak"
    share = float(finding.words.partition("comes later in ")[2].partition("%")[0])
    assert share < 60  # which alone would be no more than chance may bring
