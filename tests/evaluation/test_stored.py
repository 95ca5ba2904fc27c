"""What an evaluation leaves behind is read as it was written, or refused in one line."""

import os

import numpy as np
import polars as pl
import pytest

from vip5.errors import UserError
from vip5.evaluation.ranking import ABSENT
from vip5.evaluation.stored import (
    load_about,
    load_ranks,
    load_sentences,
    rank_rows,
    save_about,
    save_ranks,
    save_sentences,
)

USERS = pl.Series(["u", "v"])
SENTENCES = pl.DataFrame({"prompt": ["C-3"], "user": ["u"], "item": ["x"], "written": ["good"], "truth": ["bad"]})


def test_rows_of_next_items_and_of_candidate_lists():
    next_item = rank_rows("A-3", USERS, np.array([3, ABSENT]), 20)
    assert next_item.rows() == [("A-3", "u", 0, 3, 20), ("A-3", "v", 0, None, 20)]
    lists = rank_rows("B-5", USERS, np.array([[0, 1, 9], [8, 2, ABSENT]]), 9)
    assert lists["list"].to_list() == [0, 1, 2] * 2 and lists["user"].to_list() == ["u"] * 3 + ["v"] * 3
    assert lists["rank"].to_list() == [0, 1, None, 8, 2, None]


def test_saved_and_loaded_are_the_same(tmp_path):
    rows = pl.concat([rank_rows("A-3", USERS, np.array([3, ABSENT]), 20), rank_rows("B-5", USERS, np.eye(2), 2)])
    save_ranks(tmp_path, rows)
    assert load_sentences(tmp_path).is_empty()
    save_sentences(tmp_path, SENTENCES)
    assert load_ranks(tmp_path).equals(rows) and load_sentences(tmp_path).equals(SENTENCES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ranks.parquet", "sentences.parquet"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    save_ranks(tmp_path, rank_rows("A-3", USERS, np.array([3, 4]), 20))

    def broken(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(UserError, match="no space"):
        save_ranks(tmp_path, rank_rows("A-3", USERS, np.array([5, 6]), 20))
    assert load_ranks(tmp_path)["rank"].to_list() == [3, 4] and os.listdir(tmp_path) == ["ranks.parquet"]


def test_not_evaluated(tmp_path):
    with pytest.raises(UserError, match="vip5 evaluate"):
        load_ranks(tmp_path)
    with pytest.raises(UserError, match=r"no .*evaluation\.json: evaluate the run first"):
        load_about(tmp_path)
    save_sentences(tmp_path, SENTENCES)  # evaluated, on explanations alone
    assert load_ranks(tmp_path).is_empty()


ROW = rank_rows("A-3", USERS, np.array([3, 4]), 20)


@pytest.mark.parametrize(
    "wrong",
    [ROW.drop("list", "depth"), ROW.with_columns(rank=20), ROW.with_columns(rank=-1), ROW.with_columns(user=None),
     ROW.with_columns(list=pl.lit("first")), pl.concat([ROW, ROW])],
)  # fmt: skip
def test_ranks_that_are_damaged_or_older_are_refused(wrong, tmp_path):
    wrong.write_parquet(tmp_path / "ranks.parquet")
    with pytest.raises(UserError, match=r"ranks\.parquet is damaged or of another version.*evaluate again") as caught:
        load_ranks(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no Parquet"])
def test_what_is_no_parquet_is_refused(content, tmp_path):
    (tmp_path / "ranks.parquet").write_bytes(content)
    (tmp_path / "sentences.parquet").write_bytes(content)
    for load in (load_ranks, load_sentences):
        with pytest.raises(UserError, match="damaged"):
            load(tmp_path)


def test_sentences_without_a_value_are_refused(tmp_path):
    SENTENCES.with_columns(written=pl.lit(None, pl.String)).write_parquet(tmp_path / "sentences.parquet")
    with pytest.raises(UserError, match="a value is missing"):
        load_sentences(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"again": true}'])
def test_what_an_evaluation_says_of_itself(tmp_path, content):
    about = {"again": True, "notes": ["bought in this order"]}
    save_about(tmp_path, about)
    assert load_about(tmp_path) == about
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(UserError, match=r"evaluation\.json is damaged or of another version.*evaluate again"):
        load_about(tmp_path)
