"""Sentences written greedily do not go round in circles."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from vip5.decoding.text import _without_repeats


@given(st.lists(st.lists(st.integers(0, 2), min_size=9, max_size=9), min_size=1, max_size=4), st.integers(1, 9))
def test_no_three_tokens_come_twice(rows: list[list[int]], length: int) -> None:
    said = [row[:length] for row in rows]
    tokens = [torch.tensor([[row[n]] for row in said]) for n in range(length)]
    found = _without_repeats(torch.zeros(len(rows), 4), tokens)
    for row, logits in zip(said, found, strict=True):
        there = {tuple(row[n : n + 3]) for n in range(len(row) - 2)}
        banned = {token for token in range(4) if (*row[-2:], token) in there}
        assert banned == set((logits == -torch.inf).nonzero()[:, 0].tolist())
