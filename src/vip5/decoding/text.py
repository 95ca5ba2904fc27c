"""Sentences: greedily, or the best of a beam."""

import torch
from torch import Tensor

from vip5.decoding.beam import beam_search
from vip5.model import VIP5
from vip5.model.input import EOS, PAD, ModelInput


@torch.no_grad()
def greedy(model: VIP5, batch: ModelInput, max_length: int = 64) -> Tensor:
    """The most probable token at each step, until </s>: int64 [B, T], T at most `max_length`, padded with 0 after </s>.

    The model should be in eval mode.
    """
    state = model.start(model.encode(batch), 1)
    token_B1 = torch.full((len(batch), 1), PAD, device=batch.input_ids.device)
    ended_B1 = torch.zeros_like(token_B1, dtype=torch.bool)
    tokens: list[Tensor] = []
    while len(tokens) < max_length and not ended_B1.all():
        token_B1 = model.head_of_text(model.step(token_B1, state)).argmax(-1).masked_fill(ended_B1, PAD)
        ended_B1 |= token_B1 == EOS
        tokens.append(token_B1)
    return torch.cat(tokens, dim=1)


def best_of_beam(
    model: VIP5, batch: ModelInput, beams: int = 4, length_penalty: float = 1.0, max_length: int = 64
) -> Tensor:
    """The best sentence of a beam search, as `greedy` returns it."""
    found = beam_search(model, batch, beams=beams, length_penalty=length_penalty, max_length=max_length, sentences=True)
    return found.tokens_BKT[:, 0]
