"""`vip5 data codes` as a user types it."""

import json
from pathlib import Path

import polars as pl

from vip5.data import Dataset


def test_a_table_of_codes_that_the_audit_reads(vip5, tiny_data: Dataset, tmp_path: Path):
    file = tmp_path / "deep" / "codes.parquet"
    words = ["--scheme", "collaborative+atomic", "codes.collaborative.width=3", "--out", file]
    code, out, _ = vip5("data", "codes", tiny_data.path, *words)
    assert code == 0 and "collaborative+atomic" in out and "<cluster_" in out
    table = pl.read_parquet(file)
    assert table["item"].to_list() == tiny_data.items["item"].to_list()
    assert table["code"].n_unique() == tiny_data.n_items
    code, out, _ = vip5("data", "audit", tiny_data.path, "--codes", file)
    assert code == 0 and "verdict: clean" in out


def test_as_json(vip5, tiny_data: Dataset, tmp_path: Path):
    words = [
        "--scheme",
        "semantic",
        'codes.semantic.sources=["text","photo"]',
        "--out",
        tmp_path / "c.parquet",
        "--json",
    ]
    code, out, _ = vip5("data", "codes", tiny_data.path, *words, "codes.semantic.size=8")
    found = json.loads(out)
    assert code == 0 and found["codes_new_items"] and found["items"] == tiny_data.n_items
    assert len(found["examples"]) == 3 and found["new_tokens"] >= 24


def test_what_the_user_can_mend(vip5, tiny_data: Dataset, tmp_path: Path):
    for words, said in (
        (["--scheme", "digits"], "unknown item codes 'digits'"),
        (["--scheme", "paper"], "need a paper_id for every item"),
        (["codes.semantic.size=1"], "codes.semantic.size"),
        (["--out", tiny_data.path / "manifest.json" / "x"], "choose another place"),
    ):
        code, _, err = vip5("data", "codes", tiny_data.path, *words)
        assert code == 2 and said in err and err.startswith("error: ") and err.count("\n") == 1
