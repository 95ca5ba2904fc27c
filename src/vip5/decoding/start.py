"""Where decoding starts: at nothing, or behind what is written already."""

import torch
from torch import Tensor

from vip5.model import VIP5
from vip5.model.backbone import DecoderState, Encoded
from vip5.model.input import PAD, ModelInput


@torch.no_grad()
def begin(model: VIP5, batch: ModelInput, encoded: Encoded | None = None) -> tuple[DecoderState, Tensor]:
    """One beam a row, behind the tokens of `batch.past_ids`; and the token [B, 1] to feed next.

    `encoded` is the encoder's output, where it is at hand.
    """
    state = model.start(model.encode(batch) if encoded is None else encoded, 1)
    token_B1 = torch.full((len(batch), 1), PAD, device=batch.input_ids.device)
    for written_B1 in () if batch.past_ids is None else batch.past_ids.split(1, dim=1):
        model.step(token_B1, state)
        token_B1 = written_B1
    return state, token_B1
