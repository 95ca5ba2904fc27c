"""PETER and PETER+: a small Transformer that reads user and item as words, and predicts words from them.

L. Li, Y. Zhang, L. Chen: Personalized Transformer for explainable recommendation, ACL 2021.

Shapes: B reviews, P places before BEGIN, T words, S = P + T, D dimensions, H heads, E = D / H, V words.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from vip5.baselines.writing import Asked, Ids, LearnedWriter, WriterSettings, content_loss, rating_loss
from vip5.model.ops import dropout

_MASKED = -1e30
Cache = list[tuple[Tensor, Tensor]]  # keys and values [B, H, S, E] of each layer


class PETERSettings(WriterSettings):
    """Settings of `PETER`; the paper's are dim=512, 2 layers, 2 heads, inner=2048, length=15, words=20000."""

    layers: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    inner: int = Field(128, ge=1)  # of the feed-forward
    context: float = Field(1.0, ge=0)  # weight of the context loss
    rating: float = Field(0.1, ge=0)  # weight of the rating loss

    @model_validator(mode="after")
    def _fits(self) -> "PETERSettings":
        if self.dim % self.heads:
            raise ValueError("dim must be a multiple of heads")
        return self


class PETER(LearnedWriter):
    """User, item, BEGIN and words are one sequence (section 4.1) under the PETER mask: each place sees those left of
    it, and the user sees the item (section 4.2). Three losses (section 4.3): the explanation's words, each from the
    place before it; the context, all words of the explanation in any order from the item's place, by the same output
    layer; and the rating from the user's place, by an MLP with one sigmoid layer.

    Layers are those of Vaswani et al. (2017), norm after each sum. What we chose: Adam in place of SGD with a falling
    rate; learned positions; an output layer without bias; smaller sizes, since the data are small. A review that is
    not rated has no rating loss.
    """

    name = "peter"
    source = "Li, Zhang and Chen, ACL 2021"
    settings_type = PETERSettings
    module: "_PETERTransformer"

    def build(self) -> nn.Module:
        sizes = self.n_users, self.n_items, len(self.words)
        return _PETERTransformer(*sizes, self.features, self.feature_word, self.settings)

    def teach(self, asked: Asked, before_BT: Tensor, target_BT: Tensor) -> tuple[Tensor, Tensor]:
        module, settings = self.module, self.settings
        x_BSD = torch.cat([module.before(asked), module.words(before_BT)], dim=1)
        S = x_BSD.shape[1]
        h_BSD, _ = module.layers_of(x_BSD, 0, peter_mask(S, x_BSD.device))
        others = settings.rating * rating_loss(module.rate(h_BSD[:, 0]), asked.rating)
        others = others + settings.context * content_loss(module.out(h_BSD[:, 1]), target_BT)
        return h_BSD[:, S - before_BT.shape[1] :], others

    def begin(self, asked: Asked) -> tuple[Cache, int]:
        x_BPD = self.module.before(asked)
        P = x_BPD.shape[1]
        return self.module.layers_of(x_BPD, 0, peter_mask(P, x_BPD.device))[1], P

    def step(self, state: tuple[Cache, int], word_B: Tensor) -> tuple[Tensor, tuple[Cache, int]]:
        cache, place = state
        h_B1D, cache = self.module.layers_of(self.module.words(word_B[:, None]), place, None, cache)
        return h_B1D[:, 0], (cache, place + 1)


class PETERPlus(PETER):
    """`PETER` that is told the feature, a word between the item and BEGIN."""

    name = "peter+"
    feature_word = True


class _PETERTransformer(nn.Module):
    def __init__(
        self, n_users: int, n_items: int, n_words: int, vocabulary: Tensor | None, feature_word: bool, settings: Any
    ) -> None:
        super().__init__()
        dim = settings.dim
        self.register_buffer("features", vocabulary)
        self.users, self.items = (Ids(n, dim, settings.forget) for n in (n_users, n_items))
        self.words, self.places = nn.Embedding(n_words, dim), nn.Embedding(settings.length + 4, dim)
        self.layers = nn.ModuleList(
            _PETERLayer(dim, settings.heads, settings.inner, settings.dropout) for _ in range(settings.layers)
        )
        self.out = nn.Linear(dim, n_words, bias=False)
        for table in (self.words, self.places, self.out):
            nn.init.uniform_(table.weight, -0.1, 0.1)
        self.rating = nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid(), nn.Linear(dim, 1))
        self.feature_word, self.dropout = feature_word, settings.dropout

    def before(self, asked: Asked) -> Tensor:
        """[B, P, D]: user, item, and the feature."""
        told = [self.users(asked.user), self.items(asked.item)]
        return torch.stack([*told, self.words(asked.feature)] if self.feature_word else told, dim=1)

    def layers_of(
        self, x_BSD: Tensor, first: int, mask_SS: Tensor | None, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """[B, S, D]: what the last layer says at places `first` and on, and the cache with these places added."""
        places = torch.arange(first, first + x_BSD.shape[1], device=x_BSD.device)
        x_BSD = x_BSD * math.sqrt(x_BSD.shape[2]) + self.places(places)
        x_BSD, grown = dropout(x_BSD, self.dropout, self.training), []
        for number, layer in enumerate(self.layers):
            x_BSD, seen = layer(x_BSD, mask_SS, cache[number] if cache else None)
            grown.append(seen)
        return x_BSD, grown

    def rate(self, h_BD: Tensor) -> Tensor:
        """[B]: ratings."""
        return self.rating(h_BD)[:, 0]


class _PETERLayer(nn.Module):
    def __init__(self, dim: int, heads: int, inner: int, p: float) -> None:
        super().__init__()
        self.heads, self.p = heads, p
        self.query_key_value, self.mix = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.inner, self.outer = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.norm_attention, self.norm_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(
        self, x_BSD: Tensor, mask_SS: Tensor | None, cache: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        joined = self.query_key_value(x_BSD).unflatten(-1, (3, self.heads, -1))
        q_BHSE, k_BHSE, v_BHSE = joined.permute(2, 0, 3, 1, 4)
        if cache is not None:
            k_BHSE, v_BHSE = (torch.cat(pair, dim=2) for pair in zip(cache, (k_BHSE, v_BHSE), strict=True))
        scores_BHSS = q_BHSE @ k_BHSE.transpose(2, 3) / math.sqrt(q_BHSE.shape[-1])
        if mask_SS is not None:
            scores_BHSS = scores_BHSS + mask_SS
        attended = dropout(scores_BHSS.softmax(dim=-1), self.p, self.training) @ v_BHSE
        y_BSD = self.mix(attended.transpose(1, 2).flatten(2))
        x_BSD = self.norm_attention(x_BSD + dropout(y_BSD, self.p, self.training))
        y_BSD = self.outer(dropout(F.relu(self.inner(x_BSD)), self.p, self.training))
        return self.norm_forward(x_BSD + dropout(y_BSD, self.p, self.training)), (k_BHSE, v_BHSE)


def peter_mask(S: int, device: torch.device) -> Tensor:
    """[S, S]: 0 where a place sees another. The user, at place 0, sees the item at place 1."""
    mask_SS = torch.full((S, S), _MASKED, device=device).triu(1)
    mask_SS[0, 1] = 0
    return mask_SS
