"""`vip5 bench decode`: the peers agree with us, and the numbers are whole."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vip5.bench.generate import PrefixTrie, ctranslate2
from vip5.bench.measure import Rate, take_turns
from vip5.bench.workload import random_run
from vip5.cli.main import app


@pytest.mark.slow
def test_quick_through_the_command_line(tiny_data, tmp_path):
    threads = torch.get_num_threads()
    arguments = ["bench", "decode", str(tiny_data.path), "--size", "nano", "--users", "4", "--quick", "--threads", "1"]
    try:
        done = CliRunner().invoke(app, [*arguments, "--json", "--out", str(tmp_path / "decode.json")])
    finally:
        torch.set_num_threads(threads)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "decode.json").read_text())
    assert found["checks"]["users with the same list as transformers"] == 1
    assert found["checks"]["largest difference of scores"] < 1e-4
    assert found["ratio"] > 0 and {row["method"] for row in found["rows"]} == {"next item", "next item, transformers"}
    assert all(row["peak_mib"] > row["beyond_mib"] >= 0 for row in found["rows"])
    assert found["machine"]["cores"] and found["versions"]["transformers"][0].isdigit()


@pytest.mark.slow
@pytest.mark.skipif(ctranslate2() is None, reason="CTranslate2 is not installed (extra bench)")
def test_all_methods_agree(tiny_data, monkeypatch):
    from vip5.bench import decode

    monkeypatch.setattr(decode, "peak_memory", lambda *_: {})  # see above
    found = decode.bench(tiny_data.path, size="nano", users=8, rounds=1)
    assert found.checks["free text: users with the same best text"] == 1
    assert found.checks["users with the same list as transformers"] == 1
    assert len(found.rows) == 8 and all(row.median > 0 for row in found.rows)


def test_a_prefix_trie_allows_codes_and_nothing_else():
    codes = np.array([[7, 8, 1], [7, 9, 1], [5, 1, 0]])
    trie = PrefixTrie(codes, items=np.array([40, 41, 42]))
    assert trie.allowed(torch.tensor([0])) == [7, 5]
    assert trie.allowed(torch.tensor([0, 7])) == [8, 9]
    assert trie.allowed(torch.tensor([0, 5])) == [1]
    assert trie.allowed(torch.tensor([0, 8])) == [0]
    assert trie.items == {(7, 8, 1): 40, (7, 9, 1): 41, (5, 1): 42}


def test_methods_take_turns_and_rates_are_of_medians():
    order: list[str] = []
    times = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, warm_up=1)
    assert order == ["a", "b"] * 3 and [len(t) for t in times.values()] == [2, 2]
    row = Rate.of("a", "users", 10, [1.0, 2.0, 4.0], floor=0.5)
    assert (row.median, row.low, row.high, row.seconds, row.reached) == (5.0, 2.5, 10.0, 2.0, 0.25)


def test_a_random_run_is_the_same_every_time(tiny_data):
    one, two = (random_run(tiny_data, "nano", seed=3) for _ in range(2))
    for (name, a), b in zip(one.model.state_dict().items(), two.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert one.model.config.text_vocab == 4096 and not one.model.training
