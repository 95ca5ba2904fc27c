"""A mean of past weights, which is judged and kept in place of the last ones."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_SOON = 10  # the mean of the first steps is over about a tenth of them, so that the start is soon forgotten


class MeanOfWeights:
    """The mean: of each step, it keeps a `share` of itself, and the new weights make up the rest. 0: there is none."""

    def __init__(self, weights: Mapping[str, nn.Parameter], share: float) -> None:
        self.weights = dict(weights) if share else {}
        self.share = share
        self.values: dict[str, Tensor] = {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def follow(self, steps: int) -> None:
        """Take in the weights after so many steps."""
        if self.values:
            new = max(1 - self.share, _SOON / (steps + _SOON))
            torch._foreach_lerp_(list(self.values.values()), [self.weights[name] for name in self.values], new)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The model has the mean in place of its weights, where there is one."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def exchange(self) -> None:
        """Put the mean in the place of the weights, and the weights in its place."""
        for name, value in self.values.items():
            self.values[name], self.weights[name].data = self.weights[name].data, value
