"""Sentences: greedily, or the best of a beam."""

import torch
from torch import Tensor

from vip5.decoding.beam import beam_search
from vip5.model import VIP5
from vip5.model.input import EOS, PAD, ModelInput

_REPEATED = 3


@torch.no_grad()
def greedy(model: VIP5, batch: ModelInput, max_length: int = 64, spelling: Tensor | None = None) -> Tensor:
    """The most probable token at each step, until </s>, but no three tokens twice.

    `spelling`, int64, are tokens that only together make a character: with one of them, three may stand again.

    int64 [B, T], T at most `max_length`, padded with 0 after </s>; equal to `generate` of transformers with
    `no_repeat_ngram_size=3`. The model should be in eval mode.
    """
    encoded = model.encode(batch)
    state = model.start(encoded, 1)
    token_B1 = torch.full((len(batch), 1), PAD, device=batch.input_ids.device)
    ended_B1 = torch.zeros_like(token_B1, dtype=torch.bool)
    tokens = [token_B1]
    while len(tokens) <= max_length and not ended_B1.all():
        logits_BV = model.head_of_text(model.step(token_B1, state), encoded)[:, 0]
        logits_BV = _without_repeats(logits_BV, tokens, spelling)
        token_B1 = logits_BV.argmax(-1, keepdim=True).masked_fill(ended_B1, PAD)
        ended_B1 |= token_B1 == EOS
        tokens.append(token_B1)
    return torch.cat(tokens[1:], dim=1)


def _without_repeats(logits_BV: Tensor, tokens: list[Tensor], spelling: Tensor | None = None) -> Tensor:
    """-inf for what would write three tokens a second time: a small model else goes round in circles."""
    if len(tokens) >= _REPEATED:
        said_BSR = torch.cat(tokens, dim=1).unfold(1, _REPEATED, 1)
        again_BS = (said_BSR[..., :-1] == said_BSR[:, -1:, 1:]).all(dim=-1)
        if spelling is not None:
            again_BS &= ~torch.isin(said_BSR, spelling).any(dim=-1)
        row, place = again_BS.nonzero(as_tuple=True)
        logits_BV[row, said_BSR[row, place, -1]] = -torch.inf
    return logits_BV


def best_of_beam(
    model: VIP5, batch: ModelInput, beams: int = 4, length_penalty: float = 1.0, max_length: int = 64
) -> Tensor:
    """The best sentence of a beam search, as `greedy` returns it."""
    found = beam_search(model, batch, beams=beams, length_penalty=length_penalty, max_length=max_length, sentences=True)
    return found.tokens_BKT[:, 0]
