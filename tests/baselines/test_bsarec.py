"""BSARec: its filter against numpy's Fourier transform, and what it is at both ends of alpha."""

import numpy as np
import pytest
import torch

from vip5.baselines.bsarec import BSARec, BSARecSettings, FrequencyFilter
from vip5.baselines.sasrec import SASRec, SASRecSettings
from vip5.data import Ragged

N_ITEMS, HISTORIES = 30, Ragged.from_lists([[3], [5, 5, 1], list(range(10, 19)), [7, 2, 9, 0, 29, 4], []])
SHAPE = {"dim": 8, "length": 6, "blocks": 2, "heads": 2}


def shaken(made):
    torch.manual_seed(2)
    for parameter in made.module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)  # so that every part says something
    return made


def bsarec(**settings) -> BSARec:
    return shaken(BSARec(BSARecSettings(**SHAPE | settings), 4, N_ITEMS))


def by_hand(x: np.ndarray, length: int, c: int, beta: np.ndarray) -> np.ndarray:
    """At each place of x, [L, D]: the window that ends there, transformed; what stands at its last place."""
    found = []
    for end in range(1, len(x) + 1):
        window = np.zeros((length, x.shape[1]))
        window[length - end :] = x[:end]
        spectrum = np.fft.rfft(window, axis=0, norm="ortho")
        spectrum[c // 2 + 1 :] = 0
        slow = np.fft.irfft(spectrum, n=length, axis=0, norm="ortho")
        found.append((slow + beta**2 * (window - slow))[-1])
    return np.array(found)


@pytest.mark.parametrize(("length", "c"), [(50, 5), (50, 1), (50, 4), (7, 3), (8, 8), (8, 99), (1, 1)])
def test_the_filter_is_the_transform(length, c):
    made = FrequencyFilter(BSARecSettings(dim=4, length=length, c=c))
    for places in {1, min(5, length), length}:
        x = torch.randn(2, places, 4)
        for row, found in zip(x, made(x), strict=True):
            expected = by_hand(row.double().numpy(), length, c, made.beta.detach().double().numpy())
            assert found.detach().numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_what_does_not_change_is_slow_and_all_is_kept_where_beta_is_one():
    made, x = FrequencyFilter(BSARecSettings(dim=4, length=9, c=3)), torch.randn(2, 9, 4)
    still = torch.ones(1, 9, 4)
    assert torch.allclose(made(still)[:, -1], still[:, -1], atol=1e-5)  # whatever beta is
    made.beta.data.fill_(-1.0)
    assert torch.allclose(made(x), x, atol=1e-5)


def test_without_filter_it_is_sasrec():
    one, other = bsarec(alpha=0.0), SASRec(SASRecSettings(**SHAPE), 4, N_ITEMS)
    other.module.load_state_dict({name: one.tensors()[name] for name in other.tensors()})
    assert np.allclose(one.scores(HISTORIES), other.scores(HISTORIES), rtol=1e-5, atol=1e-5)


def test_with_the_filter_alone_attention_says_nothing():
    one, other = bsarec(alpha=1.0), bsarec(alpha=1.0)
    for block in other.module.blocks:
        for linear in (block.query, block.key, block.value):
            torch.nn.init.normal_(linear.weight)
    assert np.array_equal(one.scores(HISTORIES), other.scores(HISTORIES))
    assert not np.allclose(one.scores(HISTORIES), bsarec(alpha=0.5).scores(HISTORIES))


def test_no_position_sees_what_comes_later():
    """Else training at every position would tell the answers."""
    made = bsarec()
    made.module.eval()
    items, real = torch.randint(N_ITEMS, (3, 6)), torch.ones(3, 6, dtype=torch.bool)
    changed = items.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % N_ITEMS
    one, other = made.module(items, real), made.module(changed, real)
    assert torch.allclose(one[:, :4], other[:, :4]) and not torch.allclose(one[:, 4:], other[:, 4:])
