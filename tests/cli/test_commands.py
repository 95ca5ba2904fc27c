"""Each command as a user types it."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
import typer

from vip5.cli.main import app


def all_commands() -> list[list[str]]:
    group = typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += [[name, inner] for inner in command.commands]
        else:
            found.append([name])
    return found


def test_every_command_has_help_with_an_example(vip5):
    commands = all_commands()
    wanted = "quickstart, data prepare, data amazon, data demo, data encode, data info, model info, train, evaluate, "
    wanted += "recommend, rank, explain, similar, report, compare, baseline, tune"
    assert set(wanted.split(", ")) <= {" ".join(words) for words in commands}
    for words in commands:
        code, out, _ = vip5(*words, "--help")
        shown = " ".join(re.sub(r"\x1b\[[\d;]*m", "", out).split())
        assert code == 0 and f"Example: vip5 {' '.join(words)}" in shown, words
        assert "--json" in shown, words


def test_no_words_show_the_commands(vip5):
    _, out, err = vip5()
    assert "recommend" in out + err and "Traceback" not in err


@pytest.mark.slow
def test_train_and_evaluate(vip5, tiny_data, tiny_settings, tmp_path):
    run = tmp_path / "run"
    words = ["train", tiny_data.path, *tiny_settings, "optim.epochs=1", "--out", run, "--device", "cpu", "--seed", 3]
    code, out, _ = vip5(*words, "--json")
    told = json.loads(out)
    assert code == 0 and told["run"] == str(run) and told["epochs"] == 1 and told["device"] == "cpu"
    assert json.loads((run / "run.json").read_text())["config"]["seed"] == 3
    file = tmp_path / "made/results.json"
    code, out, _ = vip5("evaluate", run, "--prompts", "A-3, B-5", "--beams", 10, "--json", file, "--device", "cpu")
    assert code == 0 and "A-3" in out and "NDCG@10" in out and "popularity" in out
    stored = json.loads(file.read_text())
    assert {r["prompt"] for r in stored["results"] if r["kind"] != "rule"} == {"A-3", "A-3 of 25", "B-5"}
    assert {r["model"] for r in stored["results"] if r["kind"] == "rule"} >= {"id + 1", "last items again"}
    assert stored["command"].startswith("vip5 evaluate") and stored["audit"]["verdict"] == "clean"
    assert "id + 1" in out and "Audit: clean" in out
    card = (run / "README.md").read_text()
    assert "Audit: clean" in card and "| rule | id + 1 |" in card and "| A-3 | VIP5 |" in card
    code, out, _ = vip5("evaluate", run, "--prompts", "A-3", "--beams", 10, "--json", "-", "--device", "cpu")
    alone = [r for r in json.loads(out)["results"] if r["prompt"] == "A-3"]
    assert alone == [r for r in stored["results"] if r["prompt"] == "A-3"]
    assert (run / "ranks.parquet").is_file() and json.loads((run / "results.json").read_text())["notes"]


@pytest.mark.slow
def test_the_defaults_alone_and_then_a_newer_shop(vip5, tiny_data, tmp_path):
    """No vectors are there, and nothing is set: what is read is made and named. The run then takes in the same shop."""
    shutil.copytree(tiny_data.path, tmp_path / "data", ignore=shutil.ignore_patterns("modalities"))
    run, words = tmp_path / "run", ["optim.epochs=2", "model.tokenizer_size=400"]
    code, out, err = vip5("train", tmp_path / "data", *words, "--out", run, "--json")
    told = json.loads(out)
    assert code == 0 and told["vectors"] == "photo, text" and "made vectors of the items: photo, text" in err
    code, out, _ = vip5("evaluate", run, "--prompts", "A-3,B-5", "--beams", 10)
    assert code == 0 and re.search(r"(Best|No winner) for the next item: ", out) and "rules" in out
    code, out, _ = vip5("extend", run, tmp_path / "data", "--out", tmp_path / "newer", "--json")
    told = json.loads(out)
    assert code == 0 and (told["items"], told["new_items"], told["new_people"]) == (40, 0, 0)
    asked = ("--user", tiny_data.users["user"][0], "-n", 5, "--json")
    before, after = (json.loads(vip5("recommend", folder, *asked)[1]) for folder in (run, tmp_path / "newer"))
    assert [one["item"] for one in before["items"]] == [one["item"] for one in after["items"]]
    assert vip5("extend", run, tmp_path / "data", "--out", tmp_path / "newer")[0] == 2


def test_info(vip5, tiny_run, tiny_data):
    code, out, _ = vip5("data", "info", tiny_data.path, "--json")
    assert code == 0 and json.loads(out)["modalities"][:1] == ["photo"]
    for words in (["model", "info", "--json"], ["model", "info", tiny_run, "--json"]):
        code, out, _ = vip5(*words)
        assert code == 0 and json.loads(out)


def test_mistakes_are_one_line(refused, tiny_run, tiny_data, tiny_settings, user, tmp_path):
    run, data = tiny_run, tiny_data.path
    assert "not a finished run" in refused("recommend", tmp_path, "--user", user)
    assert "not a finished run" in refused("evaluate", tmp_path / "none")
    assert "not a dataset folder" in refused("recommend", run, "--user", user, "--dataset", tmp_path)
    assert "at least 10" in refused("evaluate", run, "--beams", 1)
    assert "is not evaluated" in refused("evaluate", run, "--prompts", "B-1")
    assert "no device 'abacus'" in refused("recommend", run, "--user", user, "--device", "abacus")
    assert "no device" in refused("train", data, *tiny_settings, "--out", tmp_path / "run", "--device", "abacus")
    assert "optim.rate: no such setting" in refused("train", data, "optim.rate=1", "--out", tmp_path / "run")
    assert "unknown item codes" in refused("train", data, "codes.scheme=morse", "--out", tmp_path / "run")
    assert "need a paper_id" in refused("train", data, "codes.scheme=paper", "--out", tmp_path / "run")
    assert "no vectors 'clip'" in refused("train", data, "modalities.clip.tokens=1", "--out", tmp_path / "run")
    assert "cannot read the prompts" in refused("train", data, "prompts.extra=none.toml", "--out", tmp_path / "run")
    assert "needs a trained backbone" in refused("train", data, "--recipe", "paper", "--out", tmp_path / "run")
    assert "not a dataset folder" in refused("train", tmp_path, "--out", tmp_path / "run")
    assert "finished run" in refused("train", data, *tiny_settings, "--out", run)
    assert not (tmp_path / "run").exists()


def test_without_photos_the_remedy_is_named(refused, tiny_data, tmp_path):
    shutil.copytree(tiny_data.path, tmp_path / "data", ignore=shutil.ignore_patterns("modalities"))
    said = refused("train", tmp_path / "data", "--out", tmp_path / "run", "--recipe", "prompts")
    assert "vip5 data encode" in said and "modalities.photo=none" in said


@pytest.mark.slow
def test_a_prompt_of_ones_own_with_a_history_and_candidates(vip5, tiny_data, tiny_settings, tmp_path):
    """Trained, evaluated, and asked for: with what a person had, known or not."""
    own, run = tmp_path / "own.toml", tmp_path / "run"
    own.write_text(
        '[[prompt]]\nid = "X-1"\ntask = "choice"\n'
        'input = "user_{user_id} had {purchase_history} and takes one of {candidates}"\ntarget = "{item_id}"\n'
    )
    given = [f"prompts.extra={own}", 'prompts.train=["A-3","X-1"]']
    assert vip5("train", tiny_data.path, "--out", run, "--recipe", "prompts", *tiny_settings, *given)[0] == 0
    own.unlink()
    code, out, err = vip5("evaluate", run, "--prompts", "X-1", "--json", tmp_path / "x.json")
    assert code == 0, err
    assert "X-1" in {r["prompt"] for r in json.loads((tmp_path / "x.json").read_text())["results"]}
    items, user = tiny_data.items["item"].to_list(), tiny_data.users["user"][0]
    asked = ["rank", run, "--prompt", "X-1", *(word for item in items[:5] for word in ("--candidate", item)), "--json"]
    by_past = []
    for history in (items[6:8], items[8:10]):
        code, out, err = vip5(*asked, *(word for item in history for word in ("--history", item)))
        assert code == 0, err
        by_past.append({one["item"]: one["probability"] for one in json.loads(out)["items"]})
        assert set(by_past[-1]) == set(items[:5])
    assert by_past[0] != by_past[1]
    assert vip5(*asked, "--user", user, "--dataset", tiny_data.path)[0] == 0


def test_wrong_words_are_shown_with_the_usage(vip5, tiny_run):
    recipe, none = ["train", tiny_run, "-o", "x", "--recipe", "huge"], ["recommend", tiny_run, "--user", "u", "-n", 0]
    for words in (["rank", tiny_run], ["train"], recipe, none, ["dance"]):
        code, out, err = vip5(*words)
        assert code == 2 and "Traceback" not in err and err and not out


def test_what_left_out_is_said(vip5, tiny_run, monkeypatch):
    from vip5.evaluation import evaluate

    monkeypatch.setattr(evaluate, "held_out_explanations", lambda *_: [])
    code, _, err = vip5("evaluate", tiny_run, "--prompts", "C-3")
    assert code == 0 and "left out C-3" in err


@pytest.mark.slow
def test_a_reader_that_is_gone(tiny_run, user):
    """As with `vip5 recommend … | head -0`: no traceback, not a word."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "vip5.cli.main", "recommend", tiny_run, "--user", user, "--json", "--device", "cpu"],
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    os.close(writer)
    assert done.stderr == "" and done.returncode in (0, 1)


def test_ctrl_c_is_one_word(vip5, tiny_run, user, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("vip5.predict.Recommender", interrupted)
    code, out, err = vip5("recommend", tiny_run, "--user", user)
    assert (code, out, err.strip()) == (130, "", "stopped")


def test_device_defaults_to_what_is_at_hand(vip5, tiny_run, user):
    from vip5.training import best_device

    assert best_device() == (
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    assert vip5("recommend", tiny_run, "--user", user, "--json")[0] == 0


def test_cut_offs_and_what_was_had(vip5, tiny_run):
    """--cutoff is repeatable; --allow-again is said in the table and kept with the numbers."""
    words = ["evaluate", tiny_run, "--prompts", "A-3", "--cutoff", 2, "--cutoff", 5, "--users", 5, "--device", "cpu"]
    code, out, _ = vip5(*words, "--allow-again")
    assert code == 0 and "NDCG@5" in out
    assert "next items may be ones the user had before" in " ".join(out.split())
    assert json.loads((tiny_run / "evaluation.json").read_text())["again"] is True
    stored = json.loads((tiny_run / "results.json").read_text())
    assert stored["decoding"]["history_excluded"] is False
    measured = {r["metric"] for r in stored["results"] if r["kind"] != "rule"}
    assert {"HR@2", "NDCG@5", "coverage@5"} <= measured and not [name for name in measured if name.endswith("@10")]
    assert vip5(*words, "--no-again")[0] == 0
    assert json.loads((tiny_run / "evaluation.json").read_text())["again"] is False


def test_results_that_cannot_be_written(refused, tiny_run, tmp_path):
    (tmp_path / "file").write_text("")
    words = ["evaluate", tiny_run, "--prompts", "A-3", "--beams", 10, "--json", tmp_path / "file/results.json"]
    assert "results.json" in refused(*words)
