"""Norm, dropout, attention, cross-entropy: fast where PyTorch is slow, on CPUs and with a bias that is trained."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

MASKED = -1e30  # finite in bf16 too, so a row that is all padding gives no NaN
FEW = 8  # keys up to which one query of each sequence does without matrix products on a CPU: up to 8 times as fast
BLOCK = 400_000  # attention scores worked on at a time on a CPU: they fit in its cache


class Packing:
    """Where N real tokens stand among [B, L] places; what works on each token alone is spared the padding.

    `pack` and `pad` are each other's gradient, and both only copy rows.
    """

    def __init__(self, real_BL: Tensor, n: int | None = None) -> None:
        """`n` is how many are real; a GPU that is not told has to be waited for."""
        self.shape = real_BL.shape
        real = real_BL.flatten()
        self.places_N = (real.nonzero() if n is None else torch.nonzero_static(real, size=n)).flatten()
        self.full = len(self.places_N) == len(real)

    def pack(self, x: Tensor) -> Tensor:
        """[B, L, …] to [N, …]."""
        x = x.flatten(0, 1)
        return x if self.full else _Pack.apply(x, self.places_N)

    def pad(self, x: Tensor) -> Tensor:
        """[N, …] to [B, L, …], 0 where there is no token."""
        if not self.full:
            x = _Pad.apply(x, self.places_N, self.shape.numel())
        return x.unflatten(0, self.shape)


@dataclass
class AttentionMask:
    """What is added to the scores of attention; made once and shared by the layers of a stack."""

    bias: Tensor | None = None  # [1, H, Q, K] relative position bias; may be trained
    padding: Tensor | None = None  # [B, 1, 1, K] 0 on real tokens, MASKED on padding
    packing: Packing | None = None  # of the queries, where the layers work on packed rows

    @cached_property
    def joined(self) -> Tensor:
        """Both in one, in the type that attention runs in."""
        parts = [part for part in (self.bias, self.padding) if part is not None]
        mask = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        device_type = mask.device.type
        return mask.to(torch.get_autocast_dtype(device_type)) if torch.is_autocast_enabled(device_type) else mask


class RMSNorm(torch.nn.RMSNorm):
    """PyTorch's, in fewer passes over the input in training on a CPU, where PyTorch composes it of seven operations."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == torch.float32:
            return _RMSNorm.apply(x, self.weight, self.eps)
        return super().forward(x)


def attend(q_BHQE: Tensor, k_BHKE: Tensor, v_BHKE: Tensor, mask: AttentionMask, dropout: float) -> Tensor:
    """softmax(q kᵀ + mask) v, with dropout on the probabilities; heads side by side: [B, Q, H·E]."""
    slow = dropout > 0 or (mask.bias is not None and q_BHQE.shape[2] > 1)  # for PyTorch's own on a CPU
    if slow and q_BHQE.device.type == "cpu" and q_BHQE.dtype == torch.float32:
        return _BlockedAttention.apply(q_BHQE, k_BHKE, v_BHKE, mask.bias, mask.padding, dropout)
    x_BHQE = F.scaled_dot_product_attention(q_BHQE, k_BHKE, v_BHKE, mask.joined, dropout_p=dropout, scale=1.0)
    return x_BHQE.transpose(1, 2).flatten(2)


def attend_one(q_NHE: Tensor, k_TNHE: Tensor, v_TNHE: Tensor, mask: AttentionMask) -> Tensor:
    """`attend` for one query of each of N sequences, whose T keys are its own: [N, H·E]."""
    if len(k_TNHE) <= FEW and q_NHE.device.type == "cpu" and q_NHE.dtype == torch.float32:
        # Products this thin gain nothing from matrix multiplication, which here means N·H tiny ones.
        scores_TNH = (k_TNHE * q_NHE).sum(dim=-1).add_(mask.joined[0, :, 0].T[:, None])
        return (scores_TNH.softmax(dim=0)[..., None] * v_TNHE).sum(dim=0).flatten(1)
    k_NHTE, v_NHTE = (x.permute(1, 2, 0, 3) for x in (k_TNHE, v_TNHE))
    return attend(q_NHE[:, :, None], k_NHTE, v_NHTE, mask, 0.0).flatten(1)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """`F.dropout`, three times as fast on a CPU."""
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    keep, scale = _keep(x.shape, p, x.dtype)
    return x * keep.mul_(scale)


def cross_entropy(h_ND: Tensor, tables: list[Tensor], target_N: Tensor) -> Tensor:
    """-log softmax(h Wᵀ)[target], float32 [N], where W are the rows of all `tables` ([·, D]) one after the other.

    The logits stand in memory once: neither joined from parts nor copied for their gradient.
    """
    with torch.autocast(h_ND.device.type, enabled=False):
        return _CrossEntropy.apply(h_ND.float(), target_N, *tables)


def sampled_softmax(h_ND: Tensor, right_N: Tensor, wrong_KD: Tensor, same_NK: Tensor) -> Tensor:
    """[N]: ln(e^r + Σ e^(h · w)) - r over negatives w, without those that are the right one."""
    loss_N: Tensor = _SampledSoftmax.apply(h_ND, right_N, wrong_KD, same_NK)
    return loss_N


def _keep(shape: torch.Size, p: float, dtype: torch.dtype) -> tuple[Tensor, float]:
    """Mask that is 0 with probability p, else 1, and the factor that makes up for it."""
    n = shape.numel()
    # 16 random bits an entry are enough; the limits are those of int64, whose default would leave the sign bit 0.
    bits = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:n].view(shape)
    cut = round(p * 2**16)
    # Comparing into the wanted type is fast; going through bool is not vectorised.
    return torch.ge(bits, cut - 2**15, out=torch.empty(shape, dtype=dtype)), 1 / (1 - cut / 2**16)


class _RMSNorm(torch.autograd.Function):
    """y = x r w with r = 1 / sqrt(mean(x²) + eps)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_D: Tensor, eps: float) -> Tensor:
        r = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, w_D, r)
        return (x * r).mul_(w_D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """dx = r g w - x r³ mean(g w x), dw = sum of g x r: both are thin matrix products of g x."""
        x, w_D, r = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            gx_ND, r_N1 = (grad * x).flatten(0, -2), r.flatten(0, -2)
            dw_D = gx_ND.T @ r_N1[:, 0]
            shift = (gx_ND @ w_D)[:, None].mul_(r_N1.pow(3)).div_(-x.shape[-1])
            dx = (grad * w_D).mul_(r).addcmul_(x, shift.view_as(r))
        return dx, dw_D, None


class _BlockedAttention(torch.autograd.Function):
    """A few rows at a time, so that their scores stay in the cache; the bias's gradient is summed as it comes.

    PyTorch's fused CPU attention has neither dropout nor a gradient for its mask, and its fallback goes through all
    scores about ten times.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, padding: Tensor | None, dropout: float
    ) -> Tensor:
        B, H, Q, E = q.shape
        shape = torch.Size((B, H, Q, k.shape[2]))
        scores = q.new_empty(shape) if any(ctx.needs_input_grad) else None  # else each block's may go at once
        keep, scale = _keep(shape, dropout, torch.uint8) if dropout else (None, 1.0)
        out = q.new_empty(B, Q, H, E)
        for rows in _blocks(shape):
            p = torch.matmul(q[rows], k[rows].transpose(2, 3), out=None if scores is None else scores[rows])
            if bias is not None:
                p.add_(bias)
            if padding is not None:
                p.add_(padding[rows])
            torch.softmax(p, dim=-1, out=p)
            dropped = p if keep is None else p * keep[rows].float()
            torch.mul(torch.matmul(dropped, v[rows]).transpose(1, 2), scale, out=out[rows])
        ctx.save_for_backward(q, k, v, scores, keep)
        ctx.scale = scale
        return out.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, p_BHQK, keep = ctx.saved_tensors
        grad = grad.unflatten(-1, (q.shape[1], -1)).transpose(1, 2)
        dq, dk, dv = (x.new_empty(x.shape) for x in (q, k, v))
        dbias = p_BHQK.new_zeros(1, *p_BHQK.shape[1:]) if ctx.needs_input_grad[3] else None
        for rows in _blocks(p_BHQK.shape):
            p, dout = p_BHQK[rows], grad[rows] * ctx.scale
            dp = torch.matmul(dout, v[rows].transpose(2, 3))
            dropped = p
            if keep is not None:
                kept = keep[rows].float()
                dropped = p * kept
                dp.mul_(kept)
            torch.matmul(dropped.transpose(2, 3), dout, out=dv[rows])
            ds = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype)
            torch.matmul(ds, k[rows], out=dq[rows])
            torch.matmul(ds.transpose(2, 3), q[rows], out=dk[rows])
            if dbias is not None:
                dbias += ds.sum(dim=0)
        return dq, dk, dv, dbias, None, None


def _blocks(scores_BHQK: torch.Size) -> list[slice]:
    B = scores_BHQK[0]
    rows = max(1, BLOCK * B // max(1, scores_BHQK.numel()))
    return [slice(start, start + rows) for start in range(0, B, rows)]


class _Pack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, places_N: Tensor) -> Tensor:
        ctx.save_for_backward(places_N)
        ctx.rows = len(x)
        return x.index_select(0, places_N)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Pad.apply(grad, *ctx.saved_tensors, ctx.rows), None


class _Pad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, places_N: Tensor, rows: int) -> Tensor:
        ctx.save_for_backward(places_N)
        return x.new_zeros(rows, *x.shape[1:]).index_copy_(0, places_N, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Pack.apply(grad, *ctx.saved_tensors), None, None


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h_ND: Tensor, target_N: Tensor, *tables: Tensor) -> Tensor:
        sizes = [len(table) for table in tables]
        logits_NV = h_ND.new_empty(len(h_ND), sum(sizes))
        for part, table in zip(logits_NV.split(sizes, dim=1), tables, strict=True):
            torch.mm(h_ND, table.T, out=part)
        log_p_NV = torch.log_softmax(logits_NV, dim=1)
        at_target = target_N[:, None]
        loss_N = -log_p_NV.gather(1, at_target).squeeze(1)
        if any(ctx.needs_input_grad):
            # d loss / d logits = p - [target]; the incoming gradient only scales its rows, so it is made at once.
            dlogits_NV = log_p_NV.exp_().scatter_add_(1, at_target, -torch.ones_like(loss_N)[:, None])
            ctx.save_for_backward(h_ND, dlogits_NV, *tables)
        return loss_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, ...]:
        h_ND, dlogits_NV, *tables = ctx.saved_tensors
        dh_ND = torch.zeros_like(h_ND) if ctx.needs_input_grad[0] else None
        dtables: list[Tensor | None] = []
        with torch.autocast(h_ND.device.type, enabled=False):
            scaled_ND = h_ND * grad_N[:, None]
            parts = dlogits_NV.split([len(table) for table in tables], dim=1)
            for part, table, needed in zip(parts, tables, ctx.needs_input_grad[2:], strict=True):
                if dh_ND is not None:
                    dh_ND.addmm_(part, table)
                dtables.append(part.T @ scaled_ND if needed else None)
        return None if dh_ND is None else dh_ND.mul_(grad_N[:, None]), None, *dtables


class _SampledSoftmax(torch.autograd.Function):
    """The scores of negatives stand in memory once, and become probabilities in place."""

    @staticmethod
    def forward(ctx: Any, h_ND: Tensor, right_N: Tensor, wrong_KD: Tensor, same_NK: Tensor) -> Tensor:
        p_NK = (h_ND @ wrong_KD.T).masked_fill_(same_NK, MASKED)
        top_N = torch.maximum(p_NK.amax(dim=1), right_N)
        p_NK.sub_(top_N[:, None]).exp_()
        e_N = (right_N - top_N).exp_()
        total_N = p_NK.sum(dim=1).add_(e_N)
        ctx.save_for_backward(h_ND, wrong_KD, p_NK, total_N, e_N)
        return total_N.log().add_(top_N).sub_(right_N)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        h_ND, wrong_KD, p_NK, total_N, e_N = ctx.saved_tensors
        p_NK.mul_((grad_N / total_N)[:, None])
        return p_NK @ wrong_KD, grad_N * (e_N / total_N - 1), p_NK.T @ h_ND, None
