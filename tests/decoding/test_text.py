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


def test_a_character_of_three_bytes_may_stand_twice() -> None:
    tokens = [torch.tensor([[token]]) for token in (7, 1, 2, 3, 8, 1, 2)]  # 1, 2 and 3 are bytes
    assert _without_repeats(torch.zeros(1, 9), tokens)[0, 3] == -torch.inf
    assert not _without_repeats(torch.zeros(1, 9), tokens, torch.tensor([1, 2, 3])).isinf().any()
    words = [torch.tensor([[token]]) for token in (7, 8, 5, 7, 8)]
    assert _without_repeats(torch.zeros(1, 9), words, torch.tensor([1, 2, 3]))[0, 5] == -torch.inf
