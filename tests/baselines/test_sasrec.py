"""SASRec against the equations of its paper, computed one position at a time; and its losses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vip5.baselines.sasrec import SASRec, SASRecSettings, sampled_softmax
from vip5.baselines.transformer import like_lengths, with_gaps
from vip5.data import Ragged
from vip5.errors import UserError

N_ITEMS = 30


def system(**settings) -> SASRec:
    made = SASRec(SASRecSettings(**{"dim": 8, "length": 6, "seed": 1} | settings), 4, N_ITEMS)
    torch.manual_seed(2)
    for parameter in made.module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)  # so that every part says something
    return made


def by_hand(made: SASRec, history: list[int]) -> np.ndarray:
    """Scores for one history, [n_items], in float64."""
    weights = {name: tensor.double().numpy() for name, tensor in made.tensors().items()}
    settings, items = made.settings, history[-made.settings.length :]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    xs = [
        weights["items.weight"][item] * np.sqrt(settings.dim) + weights["positions.weight"][len(items) - 1 - place]
        for place, item in enumerate(items)
    ]
    size = settings.dim // settings.heads
    for block in (f"blocks.{n}" for n in range(settings.blocks)):
        normed = [norm(x, f"{block}.norm_attention") for x in xs]
        after = []
        for place in range(len(xs)):
            parts = []
            for head in range(settings.heads):
                part = slice(head * size, (head + 1) * size)
                q = linear(normed[place], f"{block}.query")[part]
                keys = [linear(y, f"{block}.key")[part] for y in xs[: place + 1]]
                values = [linear(y, f"{block}.value")[part] for y in xs[: place + 1]]
                p = np.exp([q @ k / np.sqrt(size) for k in keys])
                parts.append(sum(w * v for w, v in zip(p / p.sum(), values, strict=True)))
            after.append(norm(normed[place] + np.concatenate(parts), f"{block}.norm_forward"))
        xs = [x + linear(np.maximum(linear(x, f"{block}.inner"), 0), f"{block}.outer") for x in after]
    return weights["items.weight"] @ norm(xs[-1], "norm")


@pytest.mark.parametrize("shape", [{}, {"blocks": 2, "heads": 2}, {"heads": 4}])
def test_scores_are_those_of_the_equations(shape):
    made = system(**shape)
    histories = [[3], [5, 5, 1], list(range(10, 19)), [7, 2, 9, 0, 29, 4]]
    found = made.scores(Ragged.from_lists(histories))
    for row, history in zip(found, histories, strict=True):
        assert row == pytest.approx(by_hand(made, history), rel=1e-4, abs=1e-4)


def test_no_position_sees_what_comes_later():
    made = system(blocks=2)
    made.module.eval()
    items, real = torch.randint(N_ITEMS, (3, 6)), torch.ones(3, 6, dtype=torch.bool)
    changed = items.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % N_ITEMS
    one, other = made.module(items, real), made.module(changed, real)
    assert torch.allclose(one[:, :4], other[:, :4]) and not torch.allclose(one[:, 4:], other[:, 4:])


def test_losses_by_hand():
    h, target, user = torch.randn(5, 8), torch.tensor([1, 2, 3, 4, 29]), torch.zeros(5, dtype=torch.long)
    made = system(loss="ce")
    logits = h @ made.module.items.weight.T
    expected = F.cross_entropy(logits, target).item()
    assert made._loss(h, target, user, None).item() == pytest.approx(expected, rel=1e-5)

    class Third:
        def outside(self, users):
            return torch.full_like(users, 3)

    right = torch.sigmoid(logits[torch.arange(5), target])
    expected = -(right.log() + (1 - torch.sigmoid(logits[:, 3])).log()).mean()
    assert system(loss="bce")._loss(h, target, user, Third()).item() == pytest.approx(expected.item(), rel=1e-5)


def test_sampled_softmax_is_softmax_over_what_was_drawn():
    """The right item counts once, though it may be drawn too."""
    h, target, user = torch.randn(5, 8), torch.tensor([1, 2, 3, 4, 29]), torch.zeros(5, dtype=torch.long)
    made = system(loss="sampled", negatives=40)
    torch.manual_seed(7)
    found = made._loss(h, target, user, None).item()
    torch.manual_seed(7)
    drawn = torch.randint(N_ITEMS, (40,)).tolist()
    logits, losses = (h @ made.module.items.weight.T).detach(), []
    for row, right in zip(logits, target.tolist(), strict=True):
        among = torch.stack([row[right], *(row[item] for item in drawn if item != right)])
        losses.append(-among.log_softmax(0)[0])
    assert found == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)
    assert set(target.tolist()) & set(drawn)  # some right ones were drawn


def test_sampled_softmax_has_the_gradient_of_its_formula():
    torch.manual_seed(3)
    h, right, negatives = (torch.randn(*shape, dtype=torch.float64) for shape in ((7, 4), (7,), (11, 4)))
    same = torch.rand(7, 11) < 0.2
    inputs = [x.requires_grad_() for x in (h, right, negatives)]
    wrong = (h @ negatives.T).masked_fill(same, -torch.inf)
    expected = torch.logaddexp(right, wrong.logsumexp(dim=1)) - right
    found = sampled_softmax(h, right, negatives, same)
    assert torch.allclose(found, expected)
    grad = torch.randn(7, dtype=torch.float64)
    for one, other in zip(*(torch.autograd.grad(x, inputs, grad) for x in (found, expected)), strict=True):
        assert torch.allclose(one, other)


def test_gaps_keep_the_order_and_two_items():
    rows = Ragged.from_lists([list(range(100)), [5, 6], [], [7], list(range(50, 80))])
    torch.manual_seed(0)
    found = with_gaps(rows, 0.4)
    assert 50 < len(found[0]) < 70 and (np.diff(found[0]) > 0).all() and set(found[4]) <= set(rows[4])
    assert [row.tolist() for row in found][1:4] == [[5, 6], [], [7]]
    assert with_gaps(rows, 0.0) is rows


@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_every_loss_learns_the_order(loss, tiny):
    made = SASRec.fit(tiny, loss=loss, dim=16, epochs=40, batch_size=16, lr=1e-2, dropout=0.0)
    histories = tiny.history("validation")
    assert (made.rank(histories, 1, exclude=histories)[:, 0] == tiny.targets("validation")).all()


def test_every_row_is_in_one_batch_oflike_lengths():
    lengths = np.random.default_rng(0).integers(2, 40, 5000)
    rows = np.flatnonzero(lengths % 2)
    batches = like_lengths(rows, lengths, 64)
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist() and max(map(len, batches)) == 64
    padded = sum(len(part) * lengths[part].max() for part in batches)
    assert padded < 1.15 * lengths[rows].sum()


def test_settings_without_effect_are_refused():
    for loss in ("ce", "bce"):
        with pytest.raises(UserError, match="negatives are of loss=sampled alone"):
            SASRec.check({"loss": loss, "negatives": 3})
    with pytest.raises(UserError, match="dim must be a multiple of heads"):
        SASRec.check({"dim": 10, "heads": 4})
