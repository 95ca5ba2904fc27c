"""Ids are text: what was read as a number on one side alone is named with the id that was meant."""

from pathlib import Path

import polars as pl
import pytest

from vip5.data import Dataset, prepare
from vip5.data.ids import Lost, as_id, lost_zeros, row_of
from vip5.data.tables import read_table
from vip5.errors import UserError

from .conftest import files

BUYS = "user,item,ts\n" + "".join(f"00{u},0{i},{i}\n" for u in (1, 2) for i in (1, 2, 3, 4))
ITEMS = "item,title\n" + "".join(f"0{i},T{i}\n" for i in (1, 2, 3, 4))


def test_which_id_was_meant() -> None:
    known = pl.Series(["007", "b", "0"])
    assert lost_zeros(pl.Series(["b", "007", None]), known) is None
    assert lost_zeros(pl.Series(["b", "7"]), known) == Lost("7", "007")
    assert lost_zeros(pl.Series(["7.0"]), known) == Lost("7.0", "007")
    assert lost_zeros(pl.Series(["00"]), known) == Lost("00", "0")
    assert lost_zeros(pl.Series(["0b", "x.0", "70"]), known) is None


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"items": ITEMS.replace("\n0", "\n")},
            r"unknown item '01' \(.*interactions.csv, row 2, and 1 more\): write the column as text, "
            r".*items.csv has '1' where here is '01'",
        ),
        (
            {"reviews": "user,item,text\n001,02,fine hat it is\n2,02,fine hat it is\n"},
            r"unknown user '2' \(.*reviews.csv, row 3\): write .*interactions.csv has '002' where here is '2'",
        ),
        (
            {"items": ITEMS, "reviews": "user,item,text\n001,2,fine hat it is\n"},
            r"unknown item '2' \(.*reviews.csv, row 2\): write .*interactions.csv has '02' where here is '2'",
        ),
        (
            {
                "reviews": "user,item,text\n001,02,fine hat it is\n",
                "explanations": "user,item,explanation\n001,2,fine\n001,02,good\n",
            },
            r"unknown item '2' \(.*explanations.csv, row 2\)",
        ),
    ],
)
def test_zeros_that_were_lost_on_one_side(tmp_path: Path, tables: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "out", **files(tmp_path, interactions=BUYS, **tables))


def test_people_who_are_really_unknown_are_left_out(tmp_path: Path) -> None:
    notes: list[str] = []
    given = files(tmp_path, interactions=BUYS, reviews="user,item,text\n001,02,fine hat it is\n77,02,fine hat it is\n")
    assert prepare(tmp_path / "out", **given, report=notes.append).reviews.height == 1
    assert any("1 reviews left out" in note for note in notes)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (pl.Series([2.0**60]), "more digits than it can hold"),
        (pl.Series([2.0**24], dtype=pl.Float32), "more digits than it can hold"),
        (pl.Series(["1.09E+11"]), "a spreadsheet has shortened"),
        (pl.Series(["1E+11"]), "a spreadsheet has shortened"),
        (pl.Series(["1,09E+11"]), "a spreadsheet has shortened"),
        (pl.Series(["a\0b"]), "holds a zero byte"),
    ],
)
def test_ids_that_are_damaged_are_refused(tmp_path: Path, ids: pl.Series, message: str) -> None:
    pl.DataFrame({"user": ["a"], "item": ids}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=rf"item .*{message} \(.*t.parquet, row 1\)"):
        read_table(tmp_path / "t.parquet", "interactions")


def test_ids_that_look_like_numbers_stay(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item\n1E5,5e10\n+1,1_0\n-0,١٢\n")
    assert read_table(tmp_path / "t.csv", "interactions").frame.select("user", "item").rows() == [
        ("1E5", "5e10"), ("+1", "1_0"), ("-0", "١٢"),
    ]  # fmt: skip


def test_white_space_around_an_id_does_not_count(tmp_path: Path) -> None:
    """Of no table, and of no question; white space inside does."""
    blanks = BUYS.replace("\n001,01", '\n" 001\u00a0",\t01')
    given = files(tmp_path, interactions=blanks, items=ITEMS.replace("\n02", "\n 02 "))
    dataset: Dataset = prepare(tmp_path / "out", **given)
    assert dataset.users["user"].to_list() == ["001", "002"]
    assert dataset.item_index(" 02\n") == 1
    assert row_of({"a b": 0}, "a  b") is None
    for code in range(0x3100):  # the two ways to leave it away are one
        text = pl.Series([chr(code) + "a" + chr(code)])
        assert text.str.strip_chars()[0] == as_id(text[0])
