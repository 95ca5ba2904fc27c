"""T5's encoder and decoder (Raffel et al. 2020), for v1.0 and v1.1 weights, with room for what a way of tuning adds.

Pre-norm blocks without biases; RMS layer norms; attention scores are not scaled; one relative position bias for each
stack, shared by its layers. Whole prompts and targets go through the layers as N real tokens one after the other, and
only attention sees them as padded rows. Shape suffixes: B rows, L input tokens, T target tokens, K beams, D width, H
heads, E width of a head.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vip5.model.config import ModelConfig
from vip5.model.ops import MASKED, AttentionMask, Packing, RMSNorm, attend, attend_one, dropout

KeysValues = tuple[Tensor, Tensor]  # [B, H, L, E] each, of all L tokens; [t, N, H, E] of the t steps of N beams


@dataclass
class Encoded:
    """What the decoder reads: the encoder's output and where it is not padding."""

    states_BLD: Tensor  # 0 at padding
    mask_BL: Tensor  # bool, True = real token
    packing: Packing | None = None  # of the mask, where it is known
    row_B: Tensor | None = None  # which of these rows each row of the decoder reads; none: each its own
    words_BL: Tensor | None = None  # int64: the text that was read, 0 for all else; where the model copies words

    def __len__(self) -> int:
        return len(self.mask_BL if self.row_B is None else self.row_B)

    def packed(self) -> tuple[Tensor, Packing]:
        """The states [N, D] of the real tokens, and where they stand."""
        packing = self.packing or Packing(self.mask_BL)
        return packing.pack(self.states_BLD), packing

    def read(self, x: Tensor) -> Tensor:
        """Rows of prompts as the decoder's rows read them."""
        return x if self.row_B is None else x.index_select(0, self.row_B)


def _linear(inputs: int, outputs: int, std: float) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(linear.weight, std=std)
    return linear


def _padding(mask_BL: Tensor) -> Tensor:
    return torch.where(mask_BL, 0.0, MASKED)[:, None, None, :]


class RelativeBias(nn.Module):
    """A learned bias per head for each bucket of distances (key position - query position)."""

    buckets: Tensor

    def __init__(self, config: ModelConfig, bidirectional: bool) -> None:
        super().__init__()
        self.bidirectional = bidirectional
        self.max_distance = config.max_distance
        self.weight = nn.Parameter(torch.empty(config.buckets, config.heads))
        nn.init.normal_(self.weight, std=config.d_model**-0.5)
        # The bucket of each distance -max … max; farther is as far as max. Made once, on the CPU's logarithm.
        distance = torch.arange(-self.max_distance, self.max_distance + 1, device="cpu")
        one_side = config.buckets // 2 if bidirectional else config.buckets
        away = distance.abs() if bidirectional else (-distance).clamp(min=0)
        exact = one_side // 2
        scaled = torch.log(away.clamp(min=1).float() / exact) / math.log(self.max_distance / exact) * (one_side - exact)
        buckets = torch.where(away < exact, away, (exact + scaled.long()).clamp(max=one_side - 1))
        if bidirectional:
            buckets = buckets + one_side * (distance > 0)
        self.register_buffer("buckets", buckets, persistent=False)

    def of_distances(self, first: int, last: int) -> Tensor:
        """Bias [H, last - first + 1] of the distances first … last."""
        distance = torch.arange(first, last + 1, device=self.weight.device)
        bucket = self.buckets[distance.clamp(-self.max_distance, self.max_distance) + self.max_distance]
        return F.embedding(bucket, self.weight).T

    def forward(self, length: int) -> Tensor:
        """Bias [H, length, length] of every query for every key."""
        # Query i reads the window of distances -i … length-1-i: a view of one row of numbers, no gather over L² places.
        return self.of_distances(1 - length, length - 1).unfold(1, length, 1).flip(1)


class SelfAttention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        d, inner = config.d_model, config.heads * config.d_kv
        self.qkv = _linear(d, 3 * inner, d**-0.5)
        with torch.no_grad():
            self.qkv.weight[:inner] *= config.d_kv**-0.5  # T5 puts the missing scale of the scores into q's start
        self.out = _linear(inner, d, inner**-0.5)

    def forward(self, x: Tensor, mask: AttentionMask, past: "Past | None" = None) -> Tensor:
        """Of packed tokens [N, D], or, with a `past`, of the next position [B, K, D] of B·K beams."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        if past is not None:  # each beam has keys of its own
            q, kv = qkv.flatten(0, 1).split((1, 2), dim=1)
            return self.out(attend_one(q[:, 0], *past.append(kv), mask).view(*x.shape[:2], -1))
        assert mask.packing is not None
        q, k, v = mask.packing.pad(qkv).permute(2, 0, 3, 1, 4).contiguous().unbind()
        return self.out(mask.packing.pack(attend(q, k, v, mask, self.dropout * self.training)))


class CrossAttention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        d, inner = config.d_model, config.heads * config.d_kv
        self.q = _linear(d, inner, (d * config.d_kv) ** -0.5)
        self.kv = _linear(d, 2 * inner, d**-0.5)
        self.out = _linear(inner, d, inner**-0.5)

    def keys_values(self, states_ND: Tensor, packing: Packing) -> KeysValues:
        """Keys and values [B, H, L, E] of the encoder's output."""
        kv = packing.pad(self.kv(states_ND).unflatten(-1, (2, self.heads, -1)))
        k, v = kv.permute(2, 0, 3, 1, 4).contiguous().unbind()
        return k, v

    def forward(self, x: Tensor, keys_values: KeysValues, mask: AttentionMask) -> Tensor:
        """Of packed tokens [N, D], where the mask has their packing, or of the next position of beams [B, K, D]."""
        q = self.q(x)
        q = (q if mask.packing is None else mask.packing.pad(q)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q = q.expand(len(keys_values[0]), -1, -1, -1)  # from one row for all, at the first layer of such a step
        h = attend(q, *keys_values, mask, self.dropout * self.training)
        return self.out(h if mask.packing is None else mask.packing.pack(h))


class FeedForward(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gated, self.activation, self.dropout = config.gated, config.activation, config.dropout
        self.wi = _linear(config.d_model, config.d_ff * (2 if config.gated else 1), config.d_model**-0.5)
        self.wo = _linear(config.d_ff, config.d_model, config.d_ff**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.wi(x)
        if self.gated:
            gate, h = h.chunk(2, dim=-1)
            h = self._activate(gate) * h
        else:
            h = self._activate(h)
        return self.wo(dropout(h, self.dropout, self.training))

    def _activate(self, x: Tensor) -> Tensor:
        if self.activation == "relu":
            return F.relu(x)
        return F.gelu(x, approximate="tanh") if self.activation == "gelu_new" else F.silu(x)


class Sublayer(nn.Module):
    """x + dropout(adapter(body(norm(x)))): the adapter stands before the residual sum."""

    def __init__(self, config: ModelConfig, body: nn.Module) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.norm = RMSNorm(config.d_model, eps=config.eps)
        self.body = body
        # Put there by a way of tuning. (A default in the class would hide the module that is set later.)
        self.adapter: nn.Module | None = None

    def forward(self, x: Tensor, *args: object) -> Tensor:
        h = self.body(self.norm(x), *args)
        if self.adapter is not None:
            h = self.adapter(h)
        return x + dropout(h, self.dropout, self.training)


class Block(nn.Module):
    """Self-attention, cross-attention in the decoder, feed-forward."""

    def __init__(self, config: ModelConfig, cross: bool) -> None:
        super().__init__()
        self.self_attention = Sublayer(config, SelfAttention(config))
        self.cross_attention = Sublayer(config, CrossAttention(config)) if cross else None
        self.feed_forward = Sublayer(config, FeedForward(config))

    def keys_values(self, states_ND: Tensor, packing: Packing) -> KeysValues:
        """What cross-attention reads of the encoder's output, and the decoding of many steps reads again and again."""
        assert self.cross_attention is not None and isinstance(self.cross_attention.body, CrossAttention)
        return self.cross_attention.body.keys_values(states_ND, packing)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        keys_values: KeysValues | None = None,
        cross_mask: AttentionMask | None = None,
        past: "Past | None" = None,
    ) -> Tensor:
        x = self.self_attention(x, mask, past)
        if self.cross_attention is not None:
            x = self.cross_attention(x, keys_values, cross_mask)
        return self.feed_forward(x)


class Stack(nn.Module):
    """What encoder and decoder have in common: blocks, one relative bias, a last norm, dropout at both ends."""

    checkpoint = False  # keep of each block its input alone, and compute the block again in the backward

    def __init__(self, config: ModelConfig, layers: int, decoder: bool) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.bias = RelativeBias(config, bidirectional=not decoder)
        self.blocks = nn.ModuleList(Block(config, cross=decoder) for _ in range(layers))
        self.norm = RMSNorm(config.d_model, eps=config.eps)

    @property
    def layers(self) -> Iterable[Block]:
        return cast(Iterable[Block], self.blocks)

    def drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)

    def through(self, layer: Callable[..., Tensor], *inputs: object) -> Tensor:
        """What a layer makes of its inputs."""
        if self.checkpoint and torch.is_grad_enabled():
            return checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)


class Encoder(Stack):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, config.encoder_layers, decoder=False)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor, n_tokens: int | None = None) -> Encoded:
        """States of embedded tokens `x_BLD`; padding (mask False) is attended by none. `n_tokens` are no padding."""
        packing = Packing(mask_BL, n_tokens)
        mask = AttentionMask(self.bias(x_BLD.shape[1])[None], _padding(mask_BL), packing)
        x_ND = self.drop(packing.pack(x_BLD))
        for block in self.layers:
            x_ND = self.through(block, x_ND, mask)
        return Encoded(packing.pad(self.drop(self.norm(x_ND))), mask_BL, packing)


class Decoder(Stack):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, config.decoder_layers, decoder=True)

    def forward(self, x_BTD: Tensor, packing: Packing, encoded: Encoded) -> Tensor:
        """States [N, D] of all target positions at once, each seeing itself and what is before it.

        Which positions [B, T] these are is said by `packing`; each row's come first, padding after them.
        """
        T = x_BTD.shape[1]
        causal_TT = torch.full((T, T), MASKED, device=x_BTD.device).triu(1)
        mask = AttentionMask((self.bias(T) + causal_TT)[None], packing=packing)
        cross_mask = AttentionMask(padding=_padding(encoded.read(encoded.mask_BL)), packing=packing)
        states = encoded.packed()
        x_ND = self.drop(packing.pack(x_BTD))

        def layer(block: Block, x_ND: Tensor) -> Tensor:
            k, v = block.keys_values(*states)
            return block(x_ND, mask, (encoded.read(k), encoded.read(v)), cross_mask)

        for block in self.layers:
            x_ND = self.through(layer, block, x_ND)
        return self.drop(self.norm(x_ND))

    def start(self, encoded: Encoded, beams: int) -> "DecoderState":
        """The state before the first step, with the keys and values of cross-attention."""
        states = encoded.packed()
        of_layers = (block.keys_values(*states) for block in self.layers)
        keys_values = [(encoded.read(k), encoded.read(v)) for k, v in of_layers]
        return DecoderState(keys_values, AttentionMask(padding=_padding(encoded.read(encoded.mask_BL))), beams)

    def step(self, x_BKD: Tensor, state: "DecoderState") -> Tensor:
        """States [B, K, D] of the next position of every beam, whose token is embedded in `x_BKD`.

        Where all rows have the same tokens, one row [1, K, D] stands for all: what comes before the first look at the
        input is then worked out once.
        """
        mask = AttentionMask(self.bias.of_distances(-state.length, 0)[None, :, None])
        for layer, block in enumerate(self.layers):
            x_BKD = block(x_BKD, mask, state.keys_values[layer], state.cross_mask, Past(state, layer))
        state.length += 1
        return self.norm(x_BKD)


class DecoderState:
    """Where a step-by-step decoding of B rows with K beams each stands.

    Cross keys and values are kept once per row; self keys and values of each layer per beam, as [time, N, 2, H, E]:
    time first, so that reordering beams copies only the steps taken. N is B·K, or K where all rows are alike.
    """

    def __init__(self, keys_values: list[KeysValues], cross_mask: AttentionMask, beams: int) -> None:
        self.keys_values, self.cross_mask, self.beams = keys_values, cross_mask, beams
        self.length = 0  # steps taken
        self.past: list[Tensor | None] = [None] * len(keys_values)

    def reorder(self, parents_BK: Tensor) -> None:
        """Beam i of each row goes on from beam `parents_BK[:, i]` of the same row; their number may change.

        One row [1, K] stands for all.
        """
        self.past = [None if past is None else self._chosen(past, parents_BK) for past in self.past]
        self.beams = parents_BK.shape[1]

    def _chosen(self, past: Tensor, parents_BK: Tensor) -> Tensor:
        first_B1 = torch.arange(0, past.shape[1], self.beams, device=parents_BK.device)[:, None]
        rows_N = (parents_BK + first_B1).flatten()
        chosen = past.new_empty(past.shape[0], len(rows_N), *past.shape[2:])
        torch.index_select(past[: self.length], 1, rows_N, out=chosen[: self.length])
        return chosen

    def fork(self, parents_BK: Tensor) -> "DecoderState":
        """As `reorder`, but in a state of its own; this one stays what it is."""
        state = DecoderState(self.keys_values, self.cross_mask, self.beams)
        state.length, state.past = self.length, self.past
        state.reorder(parents_BK)
        return state


class Past:
    """The self keys and values of one layer of a `DecoderState`."""

    def __init__(self, state: DecoderState, layer: int) -> None:
        self.state, self.layer = state, layer

    def append(self, kv_N2HE: Tensor) -> KeysValues:
        """Keys and values [t, N, H, E] of all steps, the one given now last."""
        past, t = self.state.past[self.layer], self.state.length
        if past is None or t == len(past):
            grown = kv_N2HE.new_empty(max(8, 2 * t), *kv_N2HE.shape)
            if past is not None:
                grown[:t] = past
            self.state.past[self.layer] = past = grown
        past[t] = kv_N2HE
        k, v = past[: t + 1].unbind(2)
        return k, v
