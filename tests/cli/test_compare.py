"""`vip5 compare` as a user types it."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vip5.evaluation.stored import rank_rows, save_about, save_ranks
from vip5.predict.folder import FORMAT
from vip5.training import load_config

USERS = pl.Series([f"U{number}" for number in range(100)])


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    """Two seeds of one system, and a worse one."""
    folders = []
    for name, seed, shift in (("good-0", 0, 0), ("good-1", 1, 0), ("bad", 0, 8)):
        folder = tmp_path / name
        folder.mkdir()
        config = load_config(
            "best", None, [f"seed={seed}", f"modalities.photo.tokens={1 if shift else 2}"]
        ).model_dump()
        about = {"dataset": {"name": "shop", "hash": "ab12", "protocol": "clean"}, "format": FORMAT, "kind": "model"}
        (folder / "run.json").write_text(json.dumps(about | {"extra_prompts": None, "config": config}))
        save_about(folder, {"again": False, "notes": ["bought in this order"]})
        ranks = np.random.default_rng(seed).integers(0, 12, 100) + shift
        save_ranks(folder, pl.concat([rank_rows(prompt, USERS, ranks, 20) for prompt in ("A-3", "A-9")]))
        folders.append(folder)
    return folders


def test_table(vip5, runs):
    code, out, err = vip5("compare", *runs, "--metrics", "HR@10, NDCG@10", "--resamples", 1000)
    words = " ".join(out.split())
    assert (code, err) == (0, "") and "Differences from good-0" in out
    assert "A-9 NDCG@10 · n 100" in out and out.count("worse") == 4 and out.count("no difference shown") == 4
    for said in (
        "8 comparisons",
        "Holm, 1979",
        "1,000 resamples",
        "100 users",
        "good-0: 0; good-1: 1; bad: 0",
        "Data: bought in",
    ):
        assert said in words
    assert max(map(len, out.splitlines())) <= 120


def test_joined_seeds_and_all_pairs(vip5, runs):
    words = ["compare", *runs, "--prompts", "A-3", "--metrics", "HR@10", "--resamples", 500]
    code, out, _ = vip5(*words, "--join-seeds")
    assert code == 0 and "good-0 (2 seeds)" in out and " sd " in out and out.count("worse") == 1
    code, out, _ = vip5(*words, "--all-pairs")
    assert code == 0 and "All pairs" in out and "minus" in out and out.count("worse") == 2
    assert max(map(len, out.splitlines())) <= 120


def test_json(vip5, runs):
    code, out, _ = vip5("compare", *runs, "--prompts", "A-3", "--resamples", 500, "--seed", 3, "--json")
    told = json.loads(out)
    assert code == 0 and told["comparisons"] == len(told["rows"]) == 10 and told["seed"] == 3
    assert {r["verdict"] for r in told["rows"] if r["system"] == "bad"} <= {"worse", "no difference shown"}


def test_mistakes_are_one_line(vip5, runs, tmp_path):
    for words, said in (
        ([runs[0]], "nothing to compare with"),
        ([runs[0], tmp_path], "not a finished run"),
        ([*runs, "--metrics", "HR@50"], "--beams 50"),
        ([*runs, "--prompts", "B-5"], "not evaluated on B-5"),
    ):
        code, out, err = vip5("compare", *words)
        assert code == 2 and out == "" and said in err and err.count("\n") == 1 and "Traceback" not in err
