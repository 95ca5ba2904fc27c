"""Each command as a user types it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer

from vip5.cli.main import app


@pytest.fixture
def refused(vip5):
    """The one line that a mistake gives, with exit code 2."""

    def run(*words: object) -> str:
        code, out, err = vip5(*words)
        assert code == 2 and out == "", (code, out, err)
        assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err, err
        return err

    return run


@pytest.fixture(scope="module")
def tiny_run(tiny_run, tmp_path_factory) -> Path:
    """A copy: `vip5 evaluate` leaves a file in it."""
    return Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("cli") / "tiny"))


@pytest.fixture(scope="module")
def user(tiny_data) -> str:
    return tiny_data.users["user"][0]


@pytest.fixture(scope="module")
def items(tiny_data) -> list[str]:
    return tiny_data.items["item"].to_list()


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
    wanted += "recommend, rank, explain"
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
    assert {r["prompt"] for r in stored["results"] if r["kind"] != "rule"} == {"A-3", "B-5"}
    assert {r["model"] for r in stored["results"] if r["kind"] == "rule"} >= {"id + 1", "item-kNN"}
    assert stored["command"].startswith("vip5 evaluate") and stored["audit"]["verdict"] == "clean"
    assert "id + 1" in out and "Audit: clean" in out
    card = (run / "README.md").read_text()
    assert "Audit: clean" in card and "| rule | item-kNN |" in card and "| A-3 | VIP5 |" in card
    code, out, _ = vip5("evaluate", run, "--prompts", "A-3", "--beams", 10, "--json", "-", "--device", "cpu")
    alone = [r for r in json.loads(out)["results"] if r["prompt"] == "A-3"]
    assert alone == [r for r in stored["results"] if r["prompt"] == "A-3"]
    assert (run / "ranks.parquet").is_file()


def test_recommend(vip5, tiny_run, user, items):
    code, out, _ = vip5("recommend", tiny_run, "--user", user, "-k", 4, "--json", "--device", "cpu")
    told = json.loads(out)
    assert code == 0 and told["user"] == user and len(told["items"]) == 4
    assert all(s["item"] in items and 0 < s["probability"] <= 1 and s["title"] for s in told["items"])
    code, out, _ = vip5("recommend", tiny_run, "--user", user, "-k", 4, "--device", "cpu")
    assert code == 0 and all(s["item"] in out for s in told["items"])
    code, out, _ = vip5("recommend", tiny_run, "--user", user, "-k", 4, "--json", "--int8")
    rounded = json.loads(out)["items"]
    assert code == 0 and rounded != told["items"]
    assert rounded[0]["probability"] == pytest.approx(told["items"][0]["probability"], rel=0.2)


def test_rank(vip5, tiny_run, user, items):
    code, out, _ = vip5("rank", tiny_run, "--user", user, "--candidates", ", ".join(items[:4]), "--json")
    told = json.loads(out)["items"]
    assert code == 0 and sorted(s["item"] for s in told) == sorted(items[:4])
    assert sum(s["probability"] for s in told) == pytest.approx(1, abs=1e-5)
    assert vip5("rank", tiny_run, "--user", user, "--candidates", ",".join(items[:4]))[0] == 0


def test_explain(vip5, tiny_run, user, items):
    words = ["explain", tiny_run, "--user", user, "--item", items[0], "--stars", 5, "--feature", "handle"]
    code, out, _ = vip5(*words, "--json")
    told = json.loads(out)
    assert code == 0 and told.keys() == {"user", "item", "explanation"}
    assert vip5(*words)[:2] == (0, told["explanation"] + "\n")


def test_info(vip5, tiny_run, tiny_data):
    code, out, _ = vip5("data", "info", tiny_data.path, "--json")
    assert code == 0 and json.loads(out)["features"] == ["basic"]
    for words in (["model", "info", "--json"], ["model", "info", tiny_run, "--json"]):
        code, out, _ = vip5(*words)
        assert code == 0 and json.loads(out)


def test_mistakes_are_one_line(refused, tiny_run, tiny_data, tiny_settings, user, items, tmp_path):
    run, data = tiny_run, tiny_data.path
    assert "did you mean" in refused("recommend", run, "--user", user + "0")
    assert "not a finished run" in refused("recommend", tmp_path, "--user", user)
    assert "not a finished run" in refused("evaluate", tmp_path / "none")
    assert "not a dataset folder" in refused("recommend", run, "--user", user, "--dataset", tmp_path)
    assert "unknown prompt A-99" in refused("recommend", run, "--user", user, "--prompt", "A-99")
    assert "of task choice" in refused("recommend", run, "--user", user, "--prompt", "B-5")
    assert "unknown item" in refused("rank", run, "--user", user, "--candidates", f"{items[0]},nothing")
    assert "stands twice" in refused("rank", run, "--user", user, "--candidates", f"{items[0]},{items[0]}")
    assert "no candidates" in refused("rank", run, "--user", user, "--candidates", " , ")
    assert "out of range" in refused("explain", run, "--user", user, "--item", items[0], "--stars", -1)
    assert "at least 10" in refused("evaluate", run, "--beams", 1)
    assert "is not evaluated" in refused("evaluate", run, "--prompts", "B-1")
    assert "no device 'abacus'" in refused("recommend", run, "--user", user, "--device", "abacus")
    assert "no device" in refused("train", data, *tiny_settings, "--out", tmp_path / "run", "--device", "abacus")
    assert "unknown preset" in refused("train", data, "--out", tmp_path / "run", "--preset", "huge")
    assert "optim.rate: no such setting" in refused("train", data, "optim.rate=1", "--out", tmp_path / "run")
    assert "unknown item codes" in refused("train", data, "codes.scheme=morse", "--out", tmp_path / "run")
    assert "need a paper_id" in refused("train", data, "codes.scheme=paper", "--out", tmp_path / "run")
    assert "no features 'clip'" in refused("train", data, "features=clip", "--out", tmp_path / "run")
    assert "cannot read the prompts" in refused("train", data, "prompts.extra=none.toml", "--out", tmp_path / "run")
    assert "adapters need" in refused("train", data, "--preset", "small", "--out", tmp_path / "run")
    assert "not a dataset folder" in refused("train", tmp_path, "--out", tmp_path / "run")
    assert "finished run" in refused("train", data, *tiny_settings, "--out", run)
    assert not (tmp_path / "run").exists()


def test_without_photos_the_remedy_is_named(refused, tiny_data, tmp_path):
    shutil.copytree(tiny_data.path, tmp_path / "data", ignore=shutil.ignore_patterns("modalities"))
    said = refused("train", tmp_path / "data", "--out", tmp_path / "run")
    assert "vip5 data encode" in said and "model.image_tokens=0" in said


def test_wrong_words_are_shown_with_the_usage(vip5, tiny_run):
    for words in (["recommend", tiny_run], ["train"], ["recommend", tiny_run, "--user", "u", "-k", "0"], ["dance"]):
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

    monkeypatch.setattr("vip5.serving.Recommender", interrupted)
    code, out, err = vip5("recommend", tiny_run, "--user", user)
    assert (code, out, err.strip()) == (130, "", "stopped")


def test_device_defaults_to_what_is_at_hand(vip5, tiny_run, user):
    from vip5.training import best_device

    assert best_device() == (
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    assert vip5("recommend", tiny_run, "--user", user, "--json")[0] == 0


def test_results_that_cannot_be_written(refused, tiny_run, tmp_path):
    (tmp_path / "file").write_text("")
    words = ["evaluate", tiny_run, "--prompts", "A-3", "--beams", 10, "--json", tmp_path / "file/results.json"]
    assert "results.json" in refused(*words)
