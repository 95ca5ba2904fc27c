"""NRT: one network predicts the rating, the words of the review, and writes, from a user's and an item's vector.

P. Li, Z. Wang, Z. Ren, L. Bing, W. Lam: Neural rating regression with abstractive tips generation for recommendation,
SIGIR 2017.

Shapes: B reviews, T words, D dimensions, V words.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.writing import Asked, Ids, LearnedWriter, WriterSettings, content_loss, rating_loss
from vip5.model.ops import dropout

_RATINGS = 11  # whole ones from 0 to 10


class NRTSettings(WriterSettings):
    """Settings of `NRT`; the paper's are vectors of 300, hidden layers of 400, 4 of them for the rating."""

    layers: int = Field(2, ge=1)  # hidden ones of the rating's network
    content: float = Field(1.0, ge=0)  # weight of the content loss
    rating: float = Field(1.0, ge=0)  # weight of the rating loss


class NRT(LearnedWriter):
    """The rating is told by sigmoid layers from both vectors ("Neural rating regression"); the words of the review by
    one more such layer, h_c, and a softmax; and a GRU writes from tanh of a layer over both vectors, the predicted
    rating, rounded, as one-hot, and h_c ("Neural abstractive tips generation"). The losses are summed, each with a
    weight ("Multi-task learning").

    The sentence is the tip and the review. What we chose: Adam in place of AdaDelta, greedy writing in place of beams,
    an output layer without bias. A review that is not rated has no rating loss.
    """

    name = "nrt"
    source = "Li et al., SIGIR 2017"
    settings_type = NRTSettings
    module: "_RatingGRU"

    def build(self) -> nn.Module:
        return _RatingGRU(self.n_users, self.n_items, len(self.words), self.features, self.settings)

    def teach(self, asked: Asked, before_BT: Tensor, target_BT: Tensor) -> tuple[Tensor, Tensor]:
        settings = self.settings
        state_1BD, rating_B, scores_BV = self.module.encode(asked)
        others = settings.rating * rating_loss(rating_B, asked.rating)
        others = others + settings.content * content_loss(scores_BV, target_BT)
        return self.module(before_BT, state_1BD)[0], others

    def begin(self, asked: Asked) -> Tensor:
        return self.module.encode(asked)[0]

    def step(self, state: Tensor, word_B: Tensor) -> tuple[Tensor, Tensor]:
        h_B1D, state = self.module(word_B[:, None], state)
        return h_B1D[:, 0], state


class _RatingGRU(nn.Module):
    def __init__(self, n_users: int, n_items: int, n_words: int, vocabulary: Tensor | None, settings: Any) -> None:
        super().__init__()
        dim, self.dropout = settings.dim, settings.dropout
        self.register_buffer("features", vocabulary)
        self.users, self.items = (Ids(n, dim, settings.forget) for n in (n_users, n_items))
        wide = (2 * dim, *[dim] * settings.layers)
        layers = [(nn.Linear(a, b), nn.Sigmoid()) for a, b in pairwise(wide)]
        self.rating = nn.Sequential(*(part for layer in layers for part in layer), nn.Linear(dim, 1))
        self.content = nn.Sequential(nn.Linear(2 * dim, dim), nn.Sigmoid())
        self.content_out = nn.Linear(dim, n_words)
        self.first = nn.Linear(3 * dim + _RATINGS, dim)
        self.words = nn.Embedding(n_words, dim)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, n_words, bias=False)
        for table in (self.words, self.out):
            nn.init.uniform_(table.weight, -0.1, 0.1)

    def encode(self, asked: Asked) -> tuple[Tensor, Tensor, Tensor]:
        """The GRU's first state [1, B, D], the rating [B], and scores of words in whatever order [B, V]."""
        both_BD = torch.cat([self.users(asked.user), self.items(asked.item)], dim=1)
        rating_B, content_BD = self.rating(both_BD)[:, 0], self.content(both_BD)
        rounded_BR = F.one_hot(rating_B.detach().round().long().clamp(0, _RATINGS - 1), _RATINGS)
        state_BD = self.first(torch.cat([both_BD, rounded_BR, content_BD], dim=1)).tanh()
        return state_BD[None], rating_B, self.content_out(content_BD)

    def forward(self, word_BT: Tensor, state_1BD: Tensor) -> tuple[Tensor, Tensor]:
        x_BTD = dropout(self.words(word_BT), self.dropout, self.training)
        h_BTD, state_1BD = self.gru(x_BTD, state_1BD)
        return dropout(h_BTD, self.dropout, self.training), state_1BD
