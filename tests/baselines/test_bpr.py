"""BPR-MF, BPR-MLP and VBPR: equality with plain computations, and what the validation looks at."""

import numpy as np
import pytest
import torch

from vip5.baselines.bpr import BPRMF
from vip5.baselines.bpr_mlp import BPRMLP
from vip5.baselines.vbpr import VBPR
from vip5.errors import UserError
from vip5.modalities import open_modality

SHORT = {"dim": 8, "epochs": 2, "batch_size": 32, "lr": 1e-2}
TRIPLES = torch.tensor([[0, 3, 79, 3], [1, 5, 12, 5], [8, 2, 4, 9]])  # users; what they bought; what they did not


def test_the_loss_by_hand(tiny):
    system = BPRMF.fit(tiny, **SHORT, l2=0.3)
    weights = {name: tensor.numpy().astype(float) for name, tensor in system.tensors().items()}
    losses = []
    for u, i, j in TRIPLES.T.tolist():
        user, right, wrong = weights["users.weight"][u], weights["items.weight"][i], weights["items.weight"][j]
        above = user @ right + weights["bias"][i] - user @ wrong - weights["bias"][j]
        losses.append(np.log(1 + np.exp(-above)) + 0.3 / 2 * (user @ user + right @ right + wrong @ wrong))
    assert system.loss(*TRIPLES).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_network_reads_both_vectors_side_by_side(tiny):
    """Section 3.3 as it is written, for all pairs and for candidates."""
    system = BPRMLP.fit(tiny, **SHORT, hidden=[6, 5])
    w = {name: tensor.double() for name, tensor in system.tensors().items()}
    users, lists = np.array([4, 60, 7]), np.array([[3, 9, 1], [0, 17, 2], [5, 5, 6]])
    first = torch.cat([w["of_user.weight"], w["of_item.weight"]], dim=1)
    expected = np.empty((3, tiny.n_items))
    for row, user in enumerate(users):
        for item in range(tiny.n_items):
            both = torch.cat([w["users.weight"][user], w["items.weight"][item]])
            hidden = torch.relu(first @ both + w["of_item.bias"])
            hidden = torch.relu(w["layers.0.weight"] @ hidden + w["layers.0.bias"])
            expected[row, item] = w["out.weight"][0] @ hidden + w["bias"][item]
    histories = tiny.history("test").take(users)
    assert np.allclose(system.scores(histories, users), expected, atol=1e-5)
    assert np.allclose(system.scores_of(lists, histories, users), np.take_along_axis(expected, lists, 1), atol=1e-5)


def test_without_anything_to_see_vbpr_is_bpr_mf(tiny):
    """Scores, loss and gradients, from the same vectors of taste: so BPR-MF is VBPR without the photos."""
    plain = BPRMF.fit(tiny, **SHORT)
    blind = VBPR(
        VBPR.check(SHORT | {"visual_dim": 3}), tiny.n_users, tiny.n_items, features=torch.zeros(tiny.n_items, 4)
    )
    with torch.no_grad():
        blind.module.users.weight.zero_()[:, :8] = plain.module.users.weight
        blind.module.taste.weight.copy_(plain.module.items.weight)
        blind.module.bias.copy_(plain.module.bias)
    asked = np.arange(tiny.n_users)
    assert np.allclose(*(system.scores(tiny.history("test"), asked) for system in (plain, blind)), atol=1e-6)
    losses = []
    for system in (plain, blind):
        system.module.zero_grad()
        losses.append(system.loss(*TRIPLES))
        losses[-1].backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    one, other = plain.module, blind.module
    assert torch.allclose(one.users.weight.grad, other.users.weight.grad[:, :8], atol=1e-7)
    assert torch.allclose(one.items.weight.grad, other.taste.weight.grad, atol=1e-7)
    assert not other.users.weight.grad[:, 8:].any() and not other.looks.weight.grad.any()


def test_components_keep_how_photos_differ(tiny):
    """All components: the same distances, up to one factor. Fewer: those of the largest variance."""
    photos = np.asarray(open_modality(tiny, "photo").matrix)
    seen = VBPR.read_features(tiny, VBPR.check({"components": photos.shape[1]})).numpy()
    of = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (photos, seen)]
    assert np.allclose(of[0] * (of[1].max() / of[0].max()), of[1], atol=1e-4)
    few = VBPR.read_features(tiny, VBPR.check({"components": 2})).numpy()
    centred = photos - photos.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    assert few.shape == (tiny.n_items, 2)
    ratio = few.var(axis=0).min() / few.var(axis=0).max()
    assert ratio == pytest.approx((singular[1] / singular[0]) ** 2, rel=1e-3)


def test_vbpr_looks_at_the_modality_that_is_named(tiny):
    """By its exact name, even where only one is there."""
    with pytest.raises(UserError, match="sketch"):
        VBPR.fit(tiny, **SHORT, modality="sketch")


def test_it_is_validated_among_what_was_not_bought_by_then(tiny, monkeypatch):
    """The right item against others that are neither in the history nor it, by the scores of these alone."""
    system, asked = BPRMF.fit(tiny, **SHORT), []

    def scores_of(self, candidates, histories, users=None):
        asked.append((candidates, users))
        return np.tile(-np.arange(candidates.shape[1], dtype=np.float32), (len(candidates), 1))

    validate = system.validation(tiny)
    monkeypatch.setattr(BPRMF, "scores_of", scores_of)
    assert validate() == {"NDCG@10 of 100": 1.0}  # the right one is first, and its score the highest
    (candidates, users), known = asked[0], tiny.history("test")
    assert np.array_equal(candidates[:, 0], tiny.targets("validation")[users])
    for row, user in zip(candidates, users, strict=True):
        assert len(set(row.tolist())) == len(row) and not set(row[1:].tolist()) & set(known[user].tolist())
