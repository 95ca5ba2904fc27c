"""Attn2Seq: user, item and rating are encoded, and an LSTM that attends to them writes.

L. Dong, S. Huang, F. Wei, M. Lapata, M. Zhou, K. Xu: Learning to generate product reviews from attributes, EACL 2017.

Shapes: B reviews, T words, D dimensions, L layers, A = 3 attributes.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.writing import Asked, Ids, LearnedWriter, WriterSettings
from vip5.model.ops import dropout

_RATINGS = 21  # halves from 0 to 10; the row after them is for what is not rated
Memory = tuple[Tensor, tuple[Tensor, Tensor]]  # attributes [B, A, D], and the LSTM's h and c [L, B, D]


class Attn2SeqSettings(WriterSettings):
    """Settings of `Attn2Seq`; the paper's are dim=512 (attributes of 64) and 2 layers."""

    layers: int = Field(2, ge=1)


class Attn2Seq(LearnedWriter):
    """The attributes' vectors, side by side, through one tanh layer are the LSTM's first hidden vectors (section 3.1);
    its cells start at 0. Stacked LSTM layers read words (section 3.2). At each word an attribute weighs
    softmax(tanh(w · [h, g])), and tanh(W [c, h]) of the weighed sum c and h tells the next word (section 3.3).

    What we chose: Adam in place of RMSProp; attributes as wide as words; an output layer without bias; ratings by
    halves, with a vector for what is not rated.
    """

    name = "attn2seq"
    source = "Dong et al., EACL 2017"
    settings_type = Attn2SeqSettings
    module: "_AttributeLSTM"

    def build(self) -> nn.Module:
        return _AttributeLSTM(self.n_users, self.n_items, len(self.words), self.features, self.settings)

    def teach(self, asked: Asked, before_BT: Tensor, target_BT: Tensor) -> tuple[Tensor, Tensor]:
        h_BTD, _ = self.module(before_BT, self.begin(asked))
        return h_BTD, h_BTD.new_zeros(())

    def begin(self, asked: Asked) -> Memory:
        return self.module.encode(asked)

    def step(self, state: Memory, word_B: Tensor) -> tuple[Tensor, Memory]:
        h_B1D, state = self.module(word_B[:, None], state)
        return h_B1D[:, 0], state


class _AttributeLSTM(nn.Module):
    def __init__(
        self, n_users: int, n_items: int, n_words: int, vocabulary: Tensor | None, settings: Attn2SeqSettings
    ) -> None:
        super().__init__()
        dim, self.n_layers, self.dropout = settings.dim, settings.layers, settings.dropout
        self.register_buffer("features", vocabulary)
        self.users, self.items = (Ids(n, dim, settings.forget) for n in (n_users, n_items))
        self.ratings, self.words = nn.Embedding(_RATINGS + 1, dim), nn.Embedding(n_words, dim)
        self.first = nn.Linear(3 * dim, settings.layers * dim)
        between = settings.dropout if settings.layers > 1 else 0.0
        self.lstm = nn.LSTM(dim, dim, settings.layers, batch_first=True, dropout=between)
        self.weigh_h, self.weigh_g = nn.Linear(dim, 1, bias=False), nn.Linear(dim, 1, bias=False)
        self.join = nn.Linear(2 * dim, dim, bias=False)
        self.out = nn.Linear(dim, n_words, bias=False)
        for table in (self.ratings, self.words, self.out):
            nn.init.uniform_(table.weight, -0.1, 0.1)

    def encode(self, asked: Asked) -> Memory:
        rating_B = (2 * asked.rating).round().nan_to_num(_RATINGS).long().clamp(0, _RATINGS)
        g_BAD = torch.stack([self.users(asked.user), self.items(asked.item), self.ratings(rating_B)], dim=1)
        h_LBD = self.first(g_BAD.flatten(1)).tanh().unflatten(1, (self.n_layers, -1)).transpose(0, 1).contiguous()
        return g_BAD, (h_LBD, torch.zeros_like(h_LBD))

    def forward(self, word_BT: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        g_BAD, memory = state
        x_BTD = dropout(self.words(word_BT), self.dropout, self.training)
        h_BTD, memory = self.lstm(x_BTD, memory)
        weight_BTA = (self.weigh_h(h_BTD) + self.weigh_g(g_BAD).transpose(1, 2)).tanh().softmax(dim=2)
        h_BTD = self.join(torch.cat([weight_BTA @ g_BAD, h_BTD], dim=2)).tanh()
        return dropout(h_BTD, self.dropout, self.training), (g_BAD, memory)
