"""Our norm, dropout, attention and cross-entropy against PyTorch's plain operations."""

import pytest
import torch
import torch.nn.functional as F

from vip5.model import ops


def plain_attention(q, k, v, bias, padding, keep):
    scores = q @ k.transpose(2, 3)
    for part in (bias, padding):
        scores = scores if part is None else scores + part
    return ((scores.softmax(-1) * keep) @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("block", [1, 300, 10**6])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_attention_and_its_gradients(block, with_bias, p, monkeypatch):
    torch.manual_seed(0)
    q, k, v = (torch.randn(5, 2, n, 4, requires_grad=True) for n in (6, 7, 7))
    bias = torch.randn(1, 2, 6, 7, requires_grad=True) if with_bias else None
    padding = torch.where(torch.arange(7) < torch.tensor([[7], [3], [1], [5], [2]]), 0.0, ops.MASKED)[:, None, None]
    keep = (torch.rand(5, 2, 6, 7) >= p).to(torch.uint8)
    monkeypatch.setattr(ops, "BLOCK", block)
    monkeypatch.setattr(ops, "_keep", lambda shape, p, dtype: (keep, 1 / (1 - p)))
    leaves = [x for x in (q, k, v, bias) if x is not None]
    ours = ops.attend(q, k, v, ops.AttentionMask(bias, padding), p)
    plain = plain_attention(q, k, v, bias, padding, keep / (1 - p))
    weights = torch.randn_like(ours)
    torch.testing.assert_close(ours, plain)
    got, expected = (torch.autograd.grad((x * weights).sum(), leaves) for x in (ours, plain))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8), (1, 8), (0, 8)])
def test_norm_and_its_gradients(shape):
    torch.manual_seed(0)
    norm = ops.RMSNorm(8, eps=1e-3)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    x = torch.randn(shape, requires_grad=True)
    y, plain = norm(x), F.rms_norm(x, (8,), norm.weight, 1e-3)
    torch.testing.assert_close(y, plain)
    weights = torch.randn(shape)
    got, expected = (torch.autograd.grad((out * weights).sum(), (x, norm.weight)) for out in (y, plain))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert torch.equal(norm(x), F.rms_norm(x, (8,), norm.weight, 1e-3))  # nothing is gained there, nor changed
    exact = [t.detach().double().requires_grad_() for t in (x, norm.weight)]
    assert torch.autograd.gradcheck(lambda *args: ops._RMSNorm.apply(*args, 1e-3), exact)


@pytest.mark.parametrize("few", [0, ops.FEW])
@pytest.mark.parametrize("steps", [1, 4, ops.FEW, ops.FEW + 1])
def test_attention_of_one_query_a_sequence(few, steps, monkeypatch):
    torch.manual_seed(0)
    q, k, v = torch.randn(5, 2, 4), torch.randn(steps, 5, 2, 4), torch.randn(steps, 5, 2, 4)
    bias = torch.randn(1, 2, 1, steps)
    monkeypatch.setattr(ops, "FEW", few)
    ours = ops.attend_one(q, k, v, ops.AttentionMask(bias))
    plain = plain_attention(q[:, :, None], k.permute(1, 2, 0, 3), v.permute(1, 2, 0, 3), bias, None, 1.0)
    torch.testing.assert_close(ours, plain[:, 0])


def test_dropout_keeps_the_mean_and_the_share():
    torch.manual_seed(0)
    x = torch.ones(1001, 999, requires_grad=True)
    y = ops.dropout(x, 0.1, training=True)
    dropped = y == 0
    assert abs(dropped.float().mean().item() - 0.1) < 1e-3
    # No place among the four that share one random draw is dropped more than the others.
    for place in range(4):
        assert abs(dropped.flatten()[place::4].float().mean().item() - 0.1) < 2e-3
    torch.testing.assert_close(y[~dropped], torch.full_like(y[~dropped], 1 / 0.9), atol=1e-4, rtol=0)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert ops.dropout(x, 0.1, training=False) is x
    torch.manual_seed(0)
    assert torch.equal(ops.dropout(x, 0.1, training=True), y)


@pytest.mark.parametrize("frozen", [(), (0,), (0, 1)])
def test_cross_entropy_over_two_tables(frozen):
    torch.manual_seed(0)
    h = torch.randn(6, 8, requires_grad=True)
    tables = [torch.randn(n, 8, requires_grad=i not in frozen) for i, n in enumerate((11, 5))]
    target, weights = torch.tensor([0, 10, 11, 15, 3, 3]), torch.rand(6)
    ours = ops.cross_entropy(h, tables, target)
    plain = F.cross_entropy(h @ torch.cat(tables).T, target, reduction="none")
    torch.testing.assert_close(ours, plain)
    leaves = [h] + [table for table in tables if table.requires_grad]
    got, expected = (torch.autograd.grad((x * weights).sum(), leaves) for x in (ours, plain))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("n", [None, 5])
def test_packing_keeps_rows_and_gradients(n):
    real = torch.tensor([[True, True, False, False], [True, True, True, False], [False] * 4])
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    packing = ops.Packing(real, n)
    packed = packing.pack(x)
    assert torch.equal(packed, x[real])
    padded = packing.pad(packed)
    assert torch.equal(padded, torch.where(real[..., None], x, 0.0))
    assert torch.autograd.gradcheck(lambda x: packing.pad(packing.pack(x).sin()), x)
    full = ops.Packing(torch.ones(3, 4, dtype=torch.bool), n and 12)
    assert torch.equal(full.pad(full.pack(x)), x)
