"""The wording of the 29 prompts is that of the paper: a stored list, so that nobody changes it by chance."""

from pathlib import Path

from vip5.prompts import load_prompts


def test_the_29_prompts_are_worded_as_stored():
    stored = [line.split("\t") for line in Path(__file__).with_name("wording.txt").read_text("utf-8").splitlines()]
    assert [[prompt.id, prompt.input, prompt.target] for prompt in load_prompts().values()] == stored
    assert len(stored) == 29
