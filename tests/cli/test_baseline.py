"""`vip5 baseline`, and its run in `vip5 evaluate` and `vip5 compare`."""

import json
import shutil

import numpy as np
import pytest

from vip5.baselines.popularity import Popularity
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list
from vip5.evaluation.stored import load_sentences


@pytest.fixture
def runs(vip5, tiny_data, tmp_path):
    """Two baselines, fitted and evaluated."""
    for name in ("popularity", "item-knn"):
        assert vip5("baseline", name, tiny_data.path, "--out", tmp_path / name)[0] == 0
        assert vip5("evaluate", tmp_path / name, "--beams", 10, "--json", tmp_path / f"{name}.json")[0] == 0
    return tmp_path


@pytest.mark.slow
def test_a_baseline_is_evaluated_and_compared_like_a_model(vip5, tiny_data, tiny_run, runs):
    results = json.loads((runs / "popularity.json").read_text())
    held = HeldOut.of(tiny_data)
    ranked = Popularity.fit(tiny_data).rank(held.histories, 10, exclude=held.histories)
    expected = ranking_metrics(ranks_in_list(ranked, held.targets), (10,))["NDCG@10"].mean()
    by = {(r["prompt"], r["metric"], r["group"], r["kind"]): r for r in results["results"]}
    for prompt in ("A-3", "A-9"):
        found = by[prompt, "NDCG@10", "all", "model"]
        assert found["value"] == pytest.approx(expected) and found["seed"] == 0
        itself = [r for r in results["results"] if (r["prompt"], r["baseline"]) == (prompt, "popularity")]
        assert itself and all(r["difference"] in (0, None) for r in itself)
    candidates = ranking_metrics(
        ranks_in_list(Popularity.fit(tiny_data).rank_candidates(held.lists, held.histories), held.targets), (5,)
    )
    assert by["B-5", "HR@5", "all", "model"]["value"] == pytest.approx(candidates["HR@5"].mean())
    assert results["audit"]["verdict"] == "clean" and "item-knn: Sarwar" in (runs / "item-knn/README.md").read_text()

    model = shutil.copytree(tiny_run, runs / "model")
    assert vip5("evaluate", model, "--beams", 10, "--prompts", "A-3,B-5")[0] == 0
    code, out, _ = vip5("compare", runs / "popularity", runs / "item-knn", model, "--metrics", "HR@5", "--json")
    rows = {(row["prompt"], row["system"]): row for row in json.loads(out)["rows"]}
    assert code == 0 and {prompt for prompt, _ in rows} == {"A-3", "A-3 of 25", "B-5"}
    knn = json.loads((runs / "item-knn.json").read_text())["results"]
    value = next(r["value"] for r in knn if (r["prompt"], r["metric"], r["group"]) == ("A-3", "HR@5", "all"))
    assert rows["A-3", "item-knn"]["value"]["value"] == pytest.approx(value) and np.isfinite(value)


@pytest.mark.slow
def test_p5_is_a_model_and_compared_as_one(vip5, tiny_data, tiny_settings, runs):
    words = ("baseline", "p5", tiny_data.path, *tiny_settings, "optim.epochs=1", "--seed", 3, "--device", "cpu")
    code, out, _ = vip5(*words, "--out", runs / "p5", "--json")
    about = json.loads((runs / "p5/run.json").read_text())
    assert code == 0 and json.loads(out)["run"] == str(runs / "p5")
    assert about["config"]["modalities"] == {} and about["config"]["seed"] == 3 and about["kind"] == "model"
    assert about["config"]["peft"]["method"] == "full"
    assert vip5("evaluate", runs / "p5", "--beams", 10, "--prompts", "A-3")[0] == 0
    code, out, _ = vip5("compare", runs / "popularity", runs / "p5", "--metrics", "HR@5", "--json")
    assert code == 0 and {row["system"] for row in json.loads(out)["rows"]} == {"p5"}
    code, _, err = vip5(*words, "modalities.photo.tokens=1", "--out", runs / "other")
    assert code == 2 and "a P5 has no modalities" in " ".join(err.split()) and not (runs / "other").exists()


def test_what_is_refused(vip5, tiny_data, runs):
    for words, message in (
        (("baseline", "nothing", tiny_data.path, "-o", runs / "x"), "there are popularity, rules, item-knn"),
        (("baseline", "sasrec", tiny_data.path, "-o", runs / "x", "losss=ce"), "losss: no such setting"),
        (("baseline", "item-knn", tiny_data.path, "-o", runs / "x", "recent=0"), "settings of item-knn: recent"),
        (("baseline", "popularity", tiny_data.path, "-o", runs / "popularity"), "holds a finished run"),
        (("evaluate", runs / "popularity", "--decode", "exact"), "is a baseline, which scores all items"),
        (("evaluate", runs / "popularity", "--prompts", "Z-1"), "unknown prompt Z-1"),
        (("evaluate", runs / "popularity", "--prompts", "C-7"), "prompt C-7 is not evaluated"),
        (("evaluate", runs / "popularity", "--int8"), "--int8 is of models"),
        (("model", "info", runs / "popularity"), "popularity is the run of a baseline, not of a model: give that of a"),
    ):
        code, _, err = vip5(*words)
        assert code == 2 and message in " ".join(err.split())


def test_a_learned_one(vip5, tiny_data, tmp_path):
    code, out, _ = vip5("baseline", "sasrec", tiny_data.path, "-o", tmp_path / "run", "epochs=2", "--seed", 3, "--json")
    told = json.loads(out)
    assert (
        code == 0 and told["epochs"] == told["epochs_trained"] == 2 and told["seed"] == 3 and told["loss"] == "sampled"
    )
    code, out, err = vip5("evaluate", tmp_path / "run", "--prompts", "A-3,C-3", "--users", 20)
    assert code == 0 and "sasrec" in out and "writes no sentences" in " ".join(err.split())


@pytest.mark.slow
def test_writers_are_asked_about_the_same_reviews_as_a_model(vip5, tiny_data, tiny_run, tmp_path):
    model = shutil.copytree(tiny_run, tmp_path / "model")
    assert vip5("evaluate", model, "--prompts", "C-1,C-3,C-12")[0] == 0
    small = ["dim=16", "epochs=1", "length=8"]
    for name, settings in (("frequent-sentence", []), ("peter", small), ("peter+", small)):
        assert vip5("baseline", name, tiny_data.path, "--out", tmp_path / name, *settings)[0] == 0
        code, _, err = vip5("evaluate", tmp_path / name, "--prompts", "A-3,C-1,C-3,C-12")
        said = " ".join(err.split())
        assert code == 0 and f"left out A-3: {name} writes sentences and ranks no items" in said
        assert ("left out C-3: peter+ has to be told a feature word" in said) == (name == "peter+")
        ours, theirs = load_sentences(tmp_path / name), load_sentences(model)
        asked = theirs.filter(prompt="C-12") if name == "peter+" else theirs
        assert ours.select("prompt", "user", "item", "truth").equals(asked.select("prompt", "user", "item", "truth"))
        assert ours["written"].str.len_chars().min() > 0 and name in (tmp_path / name / "README.md").read_text()
    names = ("frequent-sentence", "peter", "peter+")
    code, out, _ = vip5("compare", model, *(tmp_path / name for name in names), "--json")
    rows = {(row["prompt"], row["metric"], row["system"]) for row in json.loads(out)["rows"]}
    assert code == 0 and rows == {("C-12", metric, name) for metric in ("BLEU-4", "ROUGE-L") for name in names}
