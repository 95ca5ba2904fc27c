"""`vip5 data audit` as a user types it."""

import json
from pathlib import Path

import polars as pl

from vip5.data import Dataset


def test_a_clean_shop(vip5, tiny_data: Dataset):
    code, out, _ = vip5("data", "audit", tiny_data.path)
    assert code == 0 and "verdict: clean" in out and "because" not in out
    for shown in (
        "id + 1",
        "id gap",
        "popularity",
        "last items again",
        "item-knn",
        "rules",
        "seldom a negative",
        "10,000 resamples",
    ):
        assert shown in out
    code, out, _ = vip5("data", "audit", tiny_data.path, "--codes", "atomic", "--json")
    found = json.loads(out)
    assert code == 0 and found["verdict"] == "clean" and found["codes"] == "atomic"
    assert found["data_hash"] == tiny_data.hash and {"rules", "checks", "reasons"} <= found.keys()


def test_a_leaky_shop(vip5, tmp_path: Path):
    rows = [(f"u{n}", item) for n in range(30) for item in "vwxyz"]
    pl.DataFrame(rows, ["user", "item"], orient="row").write_csv(tmp_path / "buys.csv")
    said = [(user, item, f"I say {item} .") for user, item in rows]
    pl.DataFrame(said, ["user", "item", "explanation"], orient="row").write_csv(tmp_path / "reviews.csv")
    tables = ["--interactions", tmp_path / "buys.csv", "--reviews", tmp_path / "reviews.csv"]
    assert vip5("data", "prepare", tmp_path / "shop", *tables, "--review-split", "random")[0] == 0
    code, out, _ = vip5("data", "audit", tmp_path / "shop")
    assert code == 3 and "verdict: leaky" in out
    assert "because protocol: protocol paper splits explanations at random" in out
    code, out, _ = vip5("data", "audit", tmp_path / "shop", "--json")
    assert code == 3 and json.loads(out)["verdict"] == "leaky"


def test_what_the_user_can_mend(vip5, tiny_data: Dataset, tmp_path: Path):
    code, _, err = vip5("data", "audit", tiny_data.path, "--codes", "paper")
    assert code == 2 and "need a paper_id for every item" in err
    code, _, err = vip5("data", "audit", tiny_data.path, "--codes", tmp_path / "gone.parquet")
    assert code == 2 and "no item codes" in err
    code, _, err = vip5("data", "audit", tmp_path)
    assert code == 2 and "is not a dataset folder" in err
