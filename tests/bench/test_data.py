"""`vip5 bench data`: the peer makes the same batches, word for word, and the numbers are whole."""

import json
import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vip5.bench.data import KINDS, Rendered, _Case, _padded, _words
from vip5.bench.workload import random_run
from vip5.cli.main import app


@pytest.fixture(scope="module")
def run(tiny_data):
    return random_run(tiny_data, "nano")


@pytest.mark.slow
def test_quick_through_the_command_line(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # put back afterwards, as the number of threads is
    threads, arguments = torch.get_num_threads(), ["bench", "data", str(tiny_data.path), "--batch", "8"]
    try:
        done = CliRunner().invoke(
            app, [*arguments, "--rounds", "2", "--quick", "--json", "--out", str(tmp_path / "data.json")]
        )
    finally:
        torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "data.json").read_text())
    assert found["quick"] and found["threads"] == 1 and found["versions"]["tokenizers"][0].isdigit()
    kinds = set(KINDS) - {"one of 100"}  # a shop of 40 items has no 100 to choose from, but fewer
    assert kinds <= set(found["ratios"]) and all(math.isfinite(ratio) for ratio in found["ratios"].values())
    assert found["ratio"] == min(found["ratios"].values()) > 0
    assert found["checks"] and all(found["checks"].values())
    assert all(0 < row["reached"] < 1 for row in found["rows"] if row["method"].startswith("vip5"))


def test_a_wrong_peer_is_noticed(run, monkeypatch):
    case = _Case(run, KINDS["next item"], batch=4, batches=2)
    assert case.same()
    monkeypatch.setattr(Rendered, "_items", lambda self, samples, row: samples.history[row][::-1])
    assert not case.same()


def test_words_and_padding_by_hand():
    assert _words(["▁user", "_", "25", "1", "<extra_id_0>", "<extra_id_0>", "▁,"]) == [1, 1, 1, 1, 2, 3, 4]
    assert _padded([[5, 6, 7], [8]], 1, 3).tolist() == [[5, 6, 1], [8, 1, 0]]


def test_every_prompt_of_training_is_measured(run):
    seen = [name for name, prompt in run.prompts.items() if not prompt.unseen]
    assert KINDS["the paper's mix"] == seen
    assert all(run.prompts[name].task == "next" for name in KINDS["next item"])
    assert all(run.prompts[name].task == "choice" for name in KINDS["one of 100"])
    assert {run.prompts[name].task for name in KINDS["explanation"]} == {"explain"}
    parts = _Case(run, KINDS["next item"], batch=4, batches=2).parts
    assert [len(part) for part in parts] == [4, 4] and np.ptp(parts[0].user) > 0
