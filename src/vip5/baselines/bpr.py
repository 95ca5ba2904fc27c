"""BPR-MF: matrix factorisation that ranks what was bought above what was not, pair by pair.

S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme: BPR: Bayesian personalized ranking from implicit feedback,
UAI 2009.

Shapes: N pairs of a user and an item, B users, I items, D dimensions.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vip5.baselines.learned import Bought, LearnedRanker, LearnedSettings
from vip5.data import Dataset, Ragged
from vip5.data.candidates import draw_negatives
from vip5.space import Choice, Real, Space


class BPRSettings(LearnedSettings):
    """Settings of systems trained by `BPR`."""

    batch_size: int = Field(2048, ge=1)
    lr: float = Field(3e-3, gt=0)
    l2: float = Field(0.01, ge=0)  # λ, of the squares of a pair's vectors

    def space(self) -> Space:
        return {**super().space(), "batch_size": Choice((512, 2048, 8192)), "l2": Real(1e-4, 1.0, log=True)}


class BPR(LearnedRanker):
    """The loss -ln σ(x_ui - x_uj) + λ/2 |Θ|² (section 4.1), Θ the vectors of the user and both items.

    An epoch is every purchase of the training part once, in an order drawn anew, each beside an item j drawn uniformly
    outside the user's own, and, by a system that can tell items nobody bought, outside those: they would be learned to
    be bad. Adam takes the place of plain gradient descent. People who are not known get the mean of
    the users' vectors. A system defines `build`, `loss` and `score`.

    It is validated among 100 items, as the loss asks: what was bought above what is drawn. So it is known better when
    to stop than from the few who find their item among the ten best of all, and at less cost.
    """

    goal = "NDCG@10 of 100"
    settings_type = BPRSettings

    @abstractmethod
    def loss(self, u_N: Tensor, i_N: Tensor, j_N: Tensor) -> Tensor:
        """The mean loss of users u with what they bought, i, and what they did not, j."""

    def validation(self, dataset: Dataset) -> Callable[[], dict[str, float]] | None:
        users = dataset.tested("validation")
        most = min(len(users), self.settings.validate_users)
        users = users[np.linspace(0, len(users) - 1, most).astype(int)]
        if not len(users):
            return None
        histories, right = dataset.history("validation").take(users), dataset.targets("validation")[users]
        known = dataset.history("test").take(users)  # the training and validation parts
        wrong = draw_negatives(known, np.ones(dataset.n_items, dtype=np.int64), self.settings.seed)
        lists = np.column_stack([right, wrong])

        def validate() -> dict[str, float]:
            scores = self.scores_of(lists, histories, users)
            rank = (scores[:, 1:] >= scores[:, :1]).sum(axis=1)
            return {self.goal: float(((rank < 10) / np.log2(rank + 2.0)).mean())}

        return validate

    def batches(self, dataset: Dataset) -> Iterator[Tensor]:
        settings, history = self.settings, dataset.history("train")
        order = torch.randperm(len(history.values))
        user_N, right_N = torch.from_numpy(history.rows)[order], torch.from_numpy(history.values).long()[order]
        wrong_N = Bought(history, self.n_items, by_anybody=self.cold_items).outside(user_N)
        triples = torch.stack([user_N, right_N, wrong_N]).to(self.device)
        for u_N, i_N, j_N in triples.split(settings.batch_size, dim=1):
            yield self.loss(u_N, i_N, j_N)


class BPRPairs(BPR):
    """Scores from a vector of the user and one of the item. A system defines `build`, `pairs` and `score_vectors`."""

    module: Any  # with `users` and `items` that give vectors, and the items' `bias`

    @abstractmethod
    def pairs(self, user_ND: Tensor, item_ND: Tensor, item_N: Tensor) -> Tensor:
        """[N]: the score of each pair, from the two vectors and the item."""

    @abstractmethod
    def score_vectors(self, user_BD: Tensor) -> Tensor:
        """[B, I]: the scores of all items."""

    def loss(self, u_N: Tensor, i_N: Tensor, j_N: Tensor) -> Tensor:
        module = self.module
        u_ND, i_ND, j_ND = module.users(u_N), module.items(i_N), module.items(j_N)
        above_N = self.pairs(u_ND, i_ND, i_N) - self.pairs(u_ND, j_ND, j_N)
        return pair_loss(above_N, self.settings.l2, u_ND, i_ND, j_ND)

    def item_vectors(self) -> Tensor:
        return self.module.items(torch.arange(self.n_items, device=self.device))

    def score(self, histories: Ragged, users: Tensor) -> Tensor:
        return self.score_vectors(of_users(self.module.users.weight, users))


class BPRMF(BPRPairs):
    """x_ui = ⟨w_u, h_i⟩ + b_i (section 4.3.1, with a bias for each item)."""

    name = "bpr-mf"
    source = "Rendle et al., UAI 2009"

    def build(self) -> nn.Module:
        return _PairVectors(self.n_users, self.n_items, self.settings.dim)

    def pairs(self, user_ND: Tensor, item_ND: Tensor, item_N: Tensor) -> Tensor:
        return (user_ND * item_ND).sum(dim=1) + self.module.bias[item_N]

    def score_vectors(self, user_BD: Tensor) -> Tensor:
        return torch.addmm(self.module.bias, user_BD, self.module.items.weight.T)


class _PairVectors(nn.Module):
    def __init__(self, n_users: int, n_items: int, dim: int) -> None:
        super().__init__()
        self.users, self.items = vectors(n_users, dim), vectors(n_items, dim)
        self.bias = nn.Parameter(torch.zeros(n_items))


def pair_loss(above_N: Tensor, l2: float, *vectors_ND: Tensor) -> Tensor:
    """The mean of -ln σ(x_ui - x_uj) + λ/2 |Θ|², Θ the vectors of u, i and j."""
    squares = sum(x_ND.square().sum(dim=1).mean() for x_ND in vectors_ND)
    return F.softplus(-above_N).mean() + l2 / 2 * squares


def vectors(n: int, dim: int) -> nn.Embedding:
    """A table of vectors to start from: N(0, 0.1² · 8 / D), so that a product starts as small whatever D is."""
    table = nn.Embedding(n, dim)
    nn.init.normal_(table.weight, std=0.1 * (8 / dim) ** 0.5)
    return table


def of_users(table_UD: Tensor, users_B: Tensor) -> Tensor:
    """[B, D]: the vectors of users, the mean of all for -1."""
    return torch.where(users_B[:, None] >= 0, table_UD[users_B.clamp(min=0)], table_UD.mean(dim=0))
