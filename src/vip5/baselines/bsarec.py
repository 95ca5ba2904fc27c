"""BSARec: SASRec whose blocks mix attention with a filter of slow and fast changes in the sequence.

Y. Shin, J. Choi, H. Wi, N. Park: An attentive inductive bias for sequential recommendation beyond the self-attention,
AAAI 2024.

Shapes: B sequences, L positions, N of the window that is transformed, D dimensions.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.sasrec import SASRec, SASRecSettings
from vip5.baselines.transformer import SequenceBlock, SequenceTransformer
from vip5.model.ops import dropout
from vip5.space import Real, Space, Whole


class BSARecSettings(SASRecSettings):
    """Settings of `BSARec`: those of SASRec, and of the filter. The authors' on Beauty, but for what SASRec's docs say
    of ours."""

    loss: Literal["bce", "ce", "sampled"] = "ce"
    blocks: int = Field(2, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)
    alpha: float = Field(0.7, ge=0, le=1)  # weight of the filter; the rest is attention's
    c: int = Field(5, ge=1)  # components of the Fourier transform that are slow, counted as in the complex one

    def space(self) -> Space:
        return {**super().space(), "alpha": Real(0.1, 0.9), "c": Whole(1, 9)}


class BSARec(SASRec):
    """A block is α · filter + (1 − α) · attention, then feed-forward.

    The filter keeps the slow part of a sequence and multiplies the fast part, which is the rest, by β² of each
    dimension, which is learned and starts at N(0, 1)². As in the authors' code, the filter's output is added to its
    input and normed before both are mixed, as attention's is, and c components are the first ⌊c / 2⌋ + 1 of the real
    transform.

    The transform is of the last N = `length` places, padded on the left. Theirs is taken once of the whole window, so
    that every output depends on all inputs, and a training sequence teaches at its last position alone: each beginning
    of a history is one. Here every position has the window that ends there, so that none sees what comes later and all
    of them teach at once, as in SASRec. With one block, the last position's output is theirs; with more, the earlier
    positions of theirs see later ones, ours do not. Padding is 0 to the filter; theirs has a vector. All else is
    SASRec's, so that with α = 0 it is SASRec.
    """

    name = "bsarec"
    source = "Shin et al., AAAI 2024"
    settings_type = BSARecSettings

    def build(self) -> nn.Module:
        return _BSATransformer(self.n_items, self.settings)


class _BSATransformer(SequenceTransformer):
    def block(self, settings: Any) -> SequenceBlock:
        return _FilterBlock(settings)


class _FilterBlock(SequenceBlock):
    def __init__(self, settings: Any) -> None:
        super().__init__(settings.dim, settings.heads, settings.dropout)
        self.alpha = settings.alpha
        self.filter, self.norm_filter = FrequencyFilter(settings), nn.LayerNorm(settings.dim)

    def mixed(self, x_BLD: Tensor, y_BLD: Tensor, mask: Tensor) -> Tensor:
        attended_BLD = super().mixed(x_BLD, y_BLD, mask)
        filtered_BLD = self.norm_filter(y_BLD + dropout(self.filter(y_BLD), self.p, self.training))
        return self.alpha * filtered_BLD + (1 - self.alpha) * attended_BLD


class FrequencyFilter(nn.Module):
    """slow + β² (x − slow), at each position of the N places that end there.

    To keep some components of a transform is to convolve with their sum, whose values by distance are `kernel_N`.
    """

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.randn(settings.dim))
        kept = torch.arange(settings.length // 2 + 1) <= settings.c // 2
        self.kernel_N: Tensor
        self.register_buffer("kernel_N", torch.fft.irfft(kept.cfloat(), n=settings.length), persistent=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        place_L = torch.arange(x_BLD.shape[1], device=x_BLD.device)
        distance_LL = place_L[:, None] - place_L
        slow_BLD = self.kernel_N[distance_LL.clamp(min=0)].tril() @ x_BLD
        return slow_BLD + self.beta.square() * (x_BLD - slow_BLD)
