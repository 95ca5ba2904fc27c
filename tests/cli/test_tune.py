"""`vip5 tune`, and its best setting in `vip5 baseline` and `vip5 train`."""

import json
import sys

import pytest


def test_the_best_setting_is_for_config(vip5, tiny_data, tmp_path):
    words = "tune", "bpr-mf", tiny_data.path, "--out", tmp_path / "search", "--trials", 3, "epochs=3", "--seed", 2
    code, out, _ = vip5(*words)
    assert code == 0 and "3 done, 0 pruned, 0 failed" in " ".join(out.split()) and "best.toml" in "".join(out.split())
    code, out, _ = vip5(*words, "--json")
    found = json.loads(out)
    assert code == 0 and found["done"] == 3 and found["config"]["seed"] == 2 and found["config"]["epochs"] == 3
    best = tmp_path / "search/best.toml"
    code, out, _ = vip5("baseline", "bpr-mf", tiny_data.path, "--out", tmp_path / "run", "--config", best, "--json")
    told = json.loads(out)
    assert code == 0 and told[f"best_validation_{found['goal']}"] == found["best"]["value"]
    assert found["best"]["settings"].items() <= told.items() and told["seed"] == 2


@pytest.mark.slow
def test_a_model(vip5, tiny_data, tiny_settings, tmp_path):
    words = *tiny_settings, "modalities.photo=none", "optim.epochs=1", "--recipe", "best"
    code, out, _ = vip5("tune", "vip5", tiny_data.path, "--out", tmp_path / "search", "--trials", 1, *words, "--json")
    found = json.loads(out)
    assert code == 0 and found["done"] == 1 and found["config"]["optim"]["epochs"] == 1
    best = tmp_path / "search/best.toml"
    assert vip5("train", tiny_data.path, "--out", tmp_path / "run", "--config", best)[0] == 0
    config = json.loads((tmp_path / "run/run.json").read_text())["config"]
    assert config["optim"]["epochs"] == 1 and config["run"]["validate_epochs"] == 1


def test_what_is_refused(vip5, tiny_data, tmp_path, monkeypatch):
    search = tmp_path / "search"
    for words, message in (
        (("popularity", tiny_data.path, "-o", search, "--trials", 2), "popularity has nothing to tune"),
        (("nothing", tiny_data.path, "-o", search, "--trials", 2), "there are popularity, rules, item-knn"),
        (("item-knn", tiny_data.path, "-o", search), "as in --trials 20 or --minutes 60"),
        (("item-knn", tiny_data.path, "-o", search, "--trials", 2, "recents=3"), "recents: no such setting"),
        (("item-knn", tiny_data.path, "-o", search, "--trials", 2, "--recipe", "best"), "--recipe is of vip5"),
        (("item-knn", tiny_data.path, "-o", tiny_data.path, "--trials", 2), "is a dataset folder"),
    ):
        code, _, err = vip5("tune", *words)
        assert code == 2 and message in " ".join(err.split())
    assert not search.exists()
    monkeypatch.delitem(sys.modules, "vip5.search.search")
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = vip5("tune", "item-knn", tiny_data.path, "-o", search, "--trials", 2)
    assert code == 2 and "pip install 'vip5[tune]'" in " ".join(err.split())
