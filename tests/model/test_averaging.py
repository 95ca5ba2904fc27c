"""A mean of past weights, beside the same sum by hand."""

import pytest
import torch
from torch import nn

from vip5.model.averaging import MeanOfWeights


def test_the_mean_by_hand():
    """At first as if of few steps: the start is soon forgotten. Then each step keeps its share."""
    weight = nn.Parameter(torch.tensor([0.0]))
    mean, by_hand = MeanOfWeights({"w": weight}, 0.9), 0.0
    for step in range(1, 200):
        with torch.no_grad():
            weight.fill_(step % 7)
        mean.follow(step)
        new = max(0.1, 10 / (step + 10))
        by_hand += new * (step % 7 - by_hand)
    assert float(mean.values["w"]) == pytest.approx(by_hand, rel=1e-5)


def test_inside_the_model_has_the_mean_and_after_it_its_weights():
    weight = nn.Parameter(torch.tensor([4.0]))
    mean = MeanOfWeights({"w": weight}, 0.5)
    mean.values["w"].fill_(1.0)
    with mean.inside():
        assert float(weight) == 1.0
    assert float(weight) == 4.0 and float(mean.values["w"]) == 1.0


def test_without_a_share_there_is_none():
    weight = nn.Parameter(torch.tensor([4.0]))
    mean = MeanOfWeights({"w": weight}, 0.0)
    mean.follow(1)
    with mean.inside():
        assert float(weight) == 4.0
    assert not mean.values
