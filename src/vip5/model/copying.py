"""Words of the prompt in the sentence: a small model that cannot know a word well can still take it over."""

import torch
from torch import Tensor, nn

from vip5.model.backbone import Encoded


class CopyScores(nn.Module):
    """What is added to the logits of a prompt's own words (after CopyNet, Gu et al. 2016, equation 8).

    A word at encoder state e scores h W e / sqrt(D) for decoder state h; a word that stands twice has the sum. W is 0
    at first, so that a new model writes what it wrote without it. Shape suffixes as in `vip5.model.backbone`.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(d_model, d_model))

    def forward(self, h_BTD: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """The words of each row's prompt, int64 [B, T, L], 0 for what is none, and their scores, float32, 0 there."""
        assert encoded.words_BL is not None
        words_BL, states_BLD = encoded.read(encoded.words_BL), encoded.read(encoded.states_BLD).float()
        score_BTL = (h_BTD.float() @ self.weight) @ states_BLD.mT * h_BTD.shape[-1] ** -0.5
        score_BTL = score_BTL * (words_BL != 0)[:, None]
        return words_BL[:, None].expand_as(score_BTL), score_BTL
