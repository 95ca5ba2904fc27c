"""What must be as it was, that a training goes on; and states that cannot be read."""

import json
from pathlib import Path

import pytest

from vip5.errors import UserError
from vip5.training import Run, load_config, state, train


def refusal(function, *args, **keywords) -> str:
    with pytest.raises(UserError) as refused:
        function(*args, **keywords)
    return str(refused.value)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def unfinished(tiny_data, tiny_settings, tmp_path, monkeypatch) -> Path:
    """A run stopped after two steps."""
    out, write, left = tmp_path / "unfinished", state._write, [2]

    def stopping(*args):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(state, "_write", stopping)
        train(Run.new(load_config("prompts", None, [*tiny_settings, "run.save_seconds=0"]), tiny_data), out, quiet=True)
    assert (out / "state.safetensors").is_file()
    return out


def test_other_settings_are_refused_by_name(unfinished, tiny_data, tiny_settings):
    def said(*overrides: str) -> str:
        config = load_config("prompts", None, [*tiny_settings, *overrides])
        return refusal(train, Run.new(config, tiny_data), unfinished, quiet=True)

    assert "optim.lr (0.003, now 0.001)" in said("optim.lr=1e-3")
    assert "seed (0, now 5)" in said("seed=5")
    assert "samples.last_positions" in said("samples.last_positions=2")
    assert "prompts.train" in said("prompts.train=['A-1']")
    assert "model.dropout" in said("model.dropout=0.2")
    assert len(lines(unfinished)) > 1  # nothing was taken away


def test_a_state_that_is_cut_short_or_empty_is_one_line(unfinished, tiny_data, tiny_settings):
    run = Run.new(load_config("prompts", None, tiny_settings), tiny_data)
    whole = (unfinished / "state.safetensors").read_bytes()
    for content in (b"", whole[:5], whole[:1000], whole[:-8], b"\xff" * 2000):
        (unfinished / "state.safetensors").write_bytes(content)
        said = refusal(train, run, unfinished, quiet=True)
        assert said.startswith(f"{unfinished}/state.safetensors is damaged (") and "\n" not in said
        assert said.endswith(f"remove the folder {unfinished} to train from the start")


def test_item_codes_weights_and_versions_must_be_those_of_the_start(unfinished, tiny_data, tiny_settings, monkeypatch):
    def said() -> str:
        return refusal(train, Run.new(load_config("prompts", None, tiny_settings), tiny_data), unfinished, quiet=True)

    with monkeypatch.context() as patch:
        patch.setattr(state, "VERSIONS", "vip5 0.1, torch 1.0")
        assert (
            "an unfinished run that began with other versions (vip5" in said() and "now vip5 0.1, torch 1.0)" in said()
        )
    with monkeypatch.context() as patch:
        patch.setattr(state, "frozen_mark", lambda model: "others")
        assert "other frozen weights" in said()
    with monkeypatch.context() as patch:
        patch.setattr(state, "_mark", lambda codes: "others")
        assert "other item codes" in said()
