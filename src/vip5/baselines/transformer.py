"""A Transformer over what people bought, and batches of their sequences: what SASRec, BSARec and S³-Rec share.

Shapes: B sequences, L positions, D dimensions, H heads, E = D / H.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vip5.data import Ragged
from vip5.model.ops import dropout

MASKED = -1e30  # a score that softmax takes for none
_SORTED_TOGETHER = 16  # batches whose sequences are sorted by length before they are cut: little padding, still mixed


class SequenceTransformer(nn.Module):
    def __init__(self, n_items: int, settings: Any) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, settings.dim)
        self.positions = nn.Embedding(settings.length, settings.dim)  # 0 is the last one
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList(self.block(settings) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.dim)
        self.dropout = settings.dropout

    def block(self, settings: Any) -> "SequenceBlock":
        return SequenceBlock(settings.dim, settings.heads, settings.dropout)

    def forward(self, items_BL: Tensor, real_BL: Tensor) -> Tensor:
        """[B, L, D]: what comes after each position; sequences stand on the left."""
        return self.encode(self.items(items_BL), real_BL)

    def encode(self, x_BLD: Tensor, real_BL: Tensor, both_ways: bool = False) -> Tensor:
        """[B, L, D], of vectors of items; each position sees those up to it, or `both_ways` all the real ones."""
        L, on = x_BLD.shape[1], x_BLD.device
        place_BL = (real_BL.sum(dim=1, keepdim=True) - 1 - torch.arange(L, device=on)).clamp(min=0)
        x_BLD = x_BLD * math.sqrt(self.items.embedding_dim) + self.positions(place_BL)
        x_BLD = dropout(x_BLD, self.dropout, self.training)
        if both_ways:
            mask = torch.where(real_BL, 0.0, MASKED)[:, None, None]
        else:  # padding stands on the right, where no real position looks
            mask = torch.full((L, L), MASKED, device=on).triu(1)
        for block in self.blocks:
            x_BLD = block(x_BLD, mask)
        return self.norm(x_BLD)


class SequenceBlock(nn.Module):
    """y = LayerNorm(x), z = LayerNorm(y + attention(y, x, x)), z + feed-forward(z), as SASRec's authors' code has it.

    The paper (section III) adds to x where the code adds to what was normed. On Beauty the code's way was better.
    """

    def __init__(self, dim: int, heads: int, p: float) -> None:
        super().__init__()
        self.heads, self.p = heads, p
        self.norm_attention, self.norm_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x_BLD: Tensor, mask: Tensor) -> Tensor:
        y_BLD = self.mixed(x_BLD, self.norm_attention(x_BLD), mask)
        inner_BLD = dropout(F.relu(self.inner(y_BLD)), self.p, self.training)
        return y_BLD + dropout(self.outer(inner_BLD), self.p, self.training)

    def mixed(self, x_BLD: Tensor, y_BLD: Tensor, mask: Tensor) -> Tensor:
        """[B, L, D]: z, in which each position has heard of the others."""
        q_BHLE, k_BHLE, v_BHLE = (
            linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear, x in ((self.query, y_BLD), (self.key, x_BLD), (self.value, x_BLD))
        )
        scores_BHLL = q_BHLE @ k_BHLE.transpose(2, 3) / math.sqrt(q_BHLE.shape[-1]) + mask
        attended_BHLE = dropout(scores_BHLL.softmax(dim=-1), self.p, self.training) @ v_BHLE
        return self.norm_forward(y_BLD + attended_BHLE.transpose(1, 2).flatten(2))


def like_lengths(rows: np.ndarray, lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """The rows in an order drawn anew, cut into batches of rows of like length."""
    rows = rows[torch.randperm(len(rows)).numpy()]
    batches = []
    for start in range(0, len(rows), size * _SORTED_TOGETHER):
        part = rows[start : start + size * _SORTED_TOGETHER]
        part = part[np.argsort(-lengths[part], kind="stable")]
        batches += [part[at : at + size] for at in range(0, len(part), size)]
    return [batches[n] for n in torch.randperm(len(batches)).tolist()]


def with_gaps(rows: Ragged, share: float) -> Ragged:
    """The rows without a share of their values, drawn anew; whole where fewer than two would be left."""
    if not share:
        return rows
    kept = (torch.rand(len(rows.values)) >= share).numpy()
    kept |= (np.bincount(rows.rows[kept], minlength=len(rows)) < 2)[rows.rows]
    return Ragged.from_lengths(rows.values[kept], np.bincount(rows.rows[kept], minlength=len(rows)))


def padded(rows: Ragged, length: int) -> tuple[Tensor, Tensor]:
    """The last `length` items of each row, on the left, and which places are real: int64 and bool [B, L], L >= 1."""
    kept_B = np.minimum(rows.lengths, length)
    place_L = np.arange(max(1, kept_B.max(initial=1)))
    real_BL = place_L < kept_B[:, None]
    at_BL = (rows.offsets[1:] - kept_B)[:, None] + place_L
    items_BL = np.zeros(real_BL.shape, dtype=np.int64)
    items_BL[real_BL] = rows.values[at_BL[real_BL]]
    return torch.from_numpy(items_BL), torch.from_numpy(real_BL)
