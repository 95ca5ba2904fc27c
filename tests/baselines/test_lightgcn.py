"""LightGCN against a plain dense computation."""

import numpy as np
import pytest
import torch

from vip5.baselines.bpr import BPRMF
from vip5.baselines.lightgcn import LightGCN

SETTINGS = {"dim": 8, "epochs": 2, "batch_size": 32, "lr": 1e-2}


def dense_mean(dataset, users, items, layers):
    """The mean of the layers (eq. 4, 8), by a dense matrix."""
    bought = np.zeros((dataset.n_users, dataset.n_items))
    for user, history in enumerate(dataset.history("train")):
        bought[user, history] = 1
    n = dataset.n_users + dataset.n_items
    whole = np.zeros((n, n))
    whole[: dataset.n_users, dataset.n_users :] = bought
    whole += whole.T
    degree = np.maximum(whole.sum(axis=1), 1)
    step = torch.from_numpy(whole / np.sqrt(np.outer(degree, degree)))
    layer = torch.cat([users, items])
    all_layers = [layer]
    for _ in range(layers):
        layer = step @ layer
        all_layers.append(layer)
    return torch.stack(all_layers).mean(dim=0).split([dataset.n_users, dataset.n_items])


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_scores_and_gradients_are_those_of_a_dense_graph(tiny, layers):
    system = LightGCN.fit(tiny, **SETTINGS, layers=layers)
    users, items = (table.weight.detach().double() for table in (system.module.users, system.module.items))
    users_UD, items_ID = dense_mean(tiny, users.requires_grad_(), items.requires_grad_(), layers)
    asked = np.arange(tiny.n_users)
    scores = system.scores(tiny.history("test"), asked)
    assert np.allclose(scores, (users_UD @ items_ID.T).detach().numpy(), atol=1e-6)
    unit_ID = torch.nn.functional.normalize(items_ID.detach(), dim=1)
    similar, cosines = system.similar(np.arange(tiny.n_items), 4)
    assert np.allclose(cosines, np.take_along_axis((unit_ID @ unit_ID.T).numpy(), similar, axis=1), atol=1e-5)

    u, i, j = torch.tensor([[0, 3, 79, 3], [1, 5, 12, 5], [8, 2, 4, 9]])
    above = (users_UD[u] * (items_ID[i] - items_ID[j])).sum(dim=1)
    squares = (users[u] ** 2).sum(1) + (items[i] ** 2).sum(1) + (items[j] ** 2).sum(1)
    expected = (torch.log1p(torch.exp(-above)) + 0.01 / 2 * squares).mean()
    expected.backward()
    system.module.zero_grad()
    loss = system.loss(u, i, j)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert np.allclose(system.module.users.weight.grad, users.grad, atol=1e-6)
    assert np.allclose(system.module.items.weight.grad, items.grad, atol=1e-6)


def test_without_layers_it_is_bpr_mf_without_bias(tiny, monkeypatch):
    one = LightGCN.fit(tiny, **SETTINGS, layers=0)
    build = BPRMF.build

    def without_bias(self):
        module = build(self)
        module.bias.requires_grad_(False)
        return module

    monkeypatch.setattr(BPRMF, "build", without_bias)
    other = BPRMF.fit(tiny, **SETTINGS)
    asked = np.arange(tiny.n_users)
    assert np.allclose(*(system.scores(tiny.history("test"), asked) for system in (one, other)), atol=1e-5)
