"""8-bit integers: exact sums of rounded numbers, close to float32, and the adapters left alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from vip5.errors import UserError
from vip5.model import VIP5, to_int8
from vip5.model.int8 import Int8Linear


def test_products_are_those_of_rounded_numbers():
    """Against the same done by NumPy in whole numbers."""
    torch.manual_seed(0)
    linear, x = nn.Linear(40, 24, bias=False), torch.randn(2, 3, 40) * torch.tensor([1.0, 30.0, 1e-3])[:, None]
    w, rows = linear.weight.detach().numpy(), x.reshape(-1, 40).numpy()
    by_output, by_row = (np.abs(a).max(axis=1, keepdims=True) / 127 for a in (w, rows))
    sums = np.rint(rows / by_row).astype(np.int64) @ np.rint(w / by_output).astype(np.int64).T
    got = Int8Linear(linear)(x)
    np.testing.assert_allclose(got.reshape(-1, 24).numpy(), sums * by_row * by_output.T, rtol=1e-5)
    exact = linear(x)
    assert ((got - exact).norm(dim=-1) / exact.norm(dim=-1)).max() < 0.02  # whatever the size of a row


def test_a_row_of_zeros_stays_zero():
    assert not Int8Linear(nn.Linear(8, 8, bias=False))(torch.zeros(3, 8)).any()


@pytest.mark.parametrize("mode", ["self+cross", "full"])
def test_the_model_answers_nearly_the_same(config, batch, mode):
    torch.manual_seed(0)
    model, b = VIP5(config(mode, gated=True, activation="gelu_new")).eval(), batch()
    small = to_int8(copy.deepcopy(model))
    with torch.no_grad():
        expected, got = model(b), small(b)
    assert not torch.equal(got, expected)
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)
    left = [name for name, part in small.named_modules() if isinstance(part, nn.Linear)]
    assert all("adapter" in name or name.startswith("modalities") for name in left)
    assert sum(isinstance(part, Int8Linear) for part in small.modules()) == 2 * 4 + 3 * 7


def test_only_on_a_cpu(config):
    with pytest.raises(UserError, match="for CPUs"):
        to_int8(VIP5(config()).to("meta"))
