"""benchmarks/baselines.py: what is done is not done again, what was stopped goes on, what is not there is said."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from vip5.baselines.sasrec import SASRec
from vip5.errors import UserError
from vip5.lock import held, lock_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))  # as when it is run
import baselines

ROWS = """
[[rows]]
name = "popularity"
title = "popularity"
datasets = ["shop"]

[[rows]]
name = "short"
title = "SASRec, short"
system = "sasrec"
settings = { dim = 8, batch_size = 16, epochs = 9 }
on.shop = { epochs = 3 }
datasets = ["shop"]

[[rows]]
name = "of-the-future"
title = "not there yet"
datasets = ["shop"]

[[rows]]
name = "dear"
title = "asked only"
system = "item-knn"
datasets = ["shop"]
asked = true
"""


@pytest.fixture
def call(tiny, tmp_path):
    shutil.copytree(tiny.path, tmp_path / "data" / "shop")
    (tmp_path / "rows.toml").write_text(ROWS)

    def run(*arguments: str) -> dict:
        given = [str(tmp_path / "data"), str(tmp_path / "runs"), "--datasets", "shop", "--seeds", "0"]
        files = ["--rows", str(tmp_path / "rows.toml"), "--json", str(tmp_path / "baselines.json")]
        baselines.main([*given, *files, *arguments])
        return json.loads((tmp_path / "baselines.json").read_text())

    return run


@pytest.mark.slow
def test_all_is_run_once_and_collected(call, tiny, tmp_path, monkeypatch):
    stored = call()
    assert [(run["row"], run["seed"]) for run in stored["runs"]] == [("popularity", 0), ("short", 0)]
    short = stored["runs"][1]
    assert short["data_hash"] == tiny.hash
    assert short["settings"]["epochs"] == 3 and short["settings"]["loss"] == "sampled"
    assert short["training"]["epochs"] == 3 and 1 <= short["training"]["best_epoch"] <= 3
    lines = [json.loads(line) for line in (tmp_path / "runs/shop/short-0/metrics.jsonl").read_text().splitlines()]
    assert short["training"]["validation"] == max(line["validation/NDCG@10"] for line in lines)
    evaluated = json.loads((tmp_path / "runs/shop/short-0/results.json").read_text())["results"]
    about = ("B-5", "NDCG@10", "all", "model", "popularity")
    (ndcg,) = [r for r in evaluated if (r["prompt"], r["metric"], r["group"], r["kind"], r["baseline"]) == about]
    assert short["test"]["B-5"]["NDCG@10"]["value"] == ndcg["value"] and set(short["test"]) == {"A-3", "B-5"}
    why = {(lack["row"], lack["why"]): lack["seeds"] for lack in stored["not_run"]}
    assert why["of-the-future", "not registered"] == [0, 1, 2] and why["dear", "not run"] == [0, 1, 2]
    assert why["popularity", "not run"] == [1, 2]
    jobs = []
    monkeypatch.setattr(baselines, "run_one", lambda row, dataset, folder, seed, command: jobs.append(folder.name))
    assert call("--seeds", "0,1")["runs"] == stored["runs"] and jobs == ["popularity-1", "short-1"]


def test_a_stopped_call_collects_and_goes_on(call, monkeypatch):
    batches = SASRec.batches

    def stopped(self, dataset):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(SASRec, "batches", stopped)
    stored = call()
    assert [run["row"] for run in stored["runs"]] == ["popularity"]
    assert {lack["why"] for lack in stored["not_run"] if 0 in lack["seeds"]} >= {"not run"}  # before its first epoch
    monkeypatch.setattr(SASRec, "batches", batches)
    assert len(call()["runs"]) == 2


def test_the_minutes_end_a_training(call, monkeypatch):
    def endless(self, dataset):
        while True:
            yield from ()

    monkeypatch.setattr(SASRec, "batches", endless)
    assert not call("--only", "short", "--minutes", "0.01")["runs"]


def test_what_another_call_is_at_is_left_to_it(call, tmp_path):
    (tmp_path / "runs/shop").mkdir(parents=True)
    with held(lock_of(tmp_path / "runs/shop/short-0"), "busy"):
        assert [run["row"] for run in call("--only", "short,popularity")["runs"]] == ["popularity"]


def test_runs_that_are_not_their_row_are_not_collected(call, tmp_path):
    call("--only", "short", "--seeds", "0")
    file = tmp_path / "rows.toml"
    file.write_text(file.read_text().replace("epochs = 3", "epochs = 4"))
    stored = call("--minutes", "0")
    assert not stored["runs"] and any("made with other settings" in lack["why"] for lack in stored["not_run"])


def test_two_data_sets_under_one_name_are_refused(call, tmp_path):
    call("--only", "popularity", "--seeds", "0,1")
    file = tmp_path / "runs/shop/popularity-0/run.json"
    about = json.loads(file.read_text())
    about["dataset"]["hash"] = "another"
    file.write_text(json.dumps(about))
    with pytest.raises(UserError, match="two data sets under one name"):
        call("--minutes", "0")


def test_stored_runs_of_the_same_data_and_settings_stay(call, tmp_path):
    stored, file = call(), tmp_path / "baselines.json"
    shutil.rmtree(tmp_path / "runs")
    elsewhere = {**stored["runs"][1], "dataset": "elsewhere"}
    (tmp_path / "rows.toml").write_text(ROWS.replace('datasets = ["shop"]', 'datasets = ["shop", "elsewhere"]'))
    file.write_text(json.dumps(stored | {"runs": [*stored["runs"], elsewhere]}))
    # popularity is made again; the two others are kept but for SASRec elsewhere, whose row has no `on.elsewhere`
    again = call("--only", "popularity")
    assert [(run["row"], run["dataset"]) for run in again["runs"]] == [("popularity", "shop"), ("short", "shop")]
    assert again["runs"][1] == stored["runs"][1]
    assert not any(lack["dataset"] == "shop" and 0 in lack["seeds"] for lack in again["not_run"][:2])
    old = [{**run, "data_hash": "of other data"} for run in stored["runs"]]
    file.write_text(json.dumps(stored | {"runs": old}))
    assert [run["row"] for run in call("--minutes", "0")["runs"]] == ["popularity"]
