"""Training in epochs: goes on exactly, ends with the best epoch, draws what it should."""

import json

import numpy as np
import pytest
import torch

from vip5.baselines import fitted, state
from vip5.baselines.learned import Bought
from vip5.baselines.sasrec import SASRec
from vip5.baselines.validation import Validation
from vip5.data import Dataset, Ragged
from vip5.errors import UserError

SETTINGS = {"dim": 8, "epochs": 6, "batch_size": 16, "lr": 1e-2, "patience": 6}


def fit(data, folder, **settings):
    return fitted.fit("sasrec", data, folder, SETTINGS | settings, quiet=True)


def test_a_stopped_training_goes_on_exactly(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "_SAVE_SECONDS", -1.0)
    whole = fit(tiny, tmp_path / "whole").tensors()
    batches, count = SASRec.batches, iter(range(100))

    def stopped(self, dataset):
        for loss in batches(self, dataset):
            if next(count) == 13:  # within the third epoch of five batches
                raise KeyboardInterrupt
            yield loss

    monkeypatch.setattr(SASRec, "batches", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny, tmp_path / "run")
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2
    with pytest.raises(UserError, match="unfinished run of other settings or data"):
        fit(tiny, tmp_path / "run", lr=2e-2)
    monkeypatch.setattr(SASRec, "batches", batches)
    gone_on = fit(tiny, tmp_path / "run").tensors()
    assert all(torch.equal(gone_on[name], tensor) for name, tensor in whole.items())
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_what_was_trained_is_not_trained_again(tiny, tmp_path, monkeypatch):
    """The folder is held, and the state there, until all of the run is written."""

    def killed(system):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted.fit("sasrec", tiny, tmp_path / "run", SETTINGS, quiet=True, finish=killed)
    monkeypatch.setattr(SASRec, "batches", killed)
    again = fit(tiny, tmp_path / "run")
    assert again.summary["epochs_trained"] == 6 and not (tmp_path / "run/state.safetensors").exists()


def test_it_is_judged_by_the_mean_of_past_weights(tiny):
    """After n steps the mean takes max(1 - averaging, 10 / (n + 10)) of the new weights; outside, training goes on."""
    system = SASRec(SASRec.check(SETTINGS | {"averaging": 0.3}), tiny.n_users, tiny.n_items)
    training = state.FitState(system, tiny, None)
    weight = system.module.items.weight
    expected, steps = weight.detach().clone(), 0
    for _ in range(3):
        for loss in system.batches(tiny):
            training.step(loss)
            steps += 1
            expected = torch.lerp(expected, weight.detach(), max(0.7, 10 / (steps + 10)))
    now = weight.detach().clone()
    assert steps == 15 and not torch.allclose(now, expected, atol=1e-4)
    with training.mean.inside():
        assert torch.allclose(weight, expected, atol=1e-6)
        training.add(1.0, {"NDCG@10": 0.5}, 0.0)
    assert torch.equal(weight, now) and torch.allclose(training.best["items.weight"], expected, atol=1e-6)


def test_it_stops_early_and_ends_with_the_best_epoch(tiny, tmp_path):
    system = fit(tiny, tmp_path / "run", epochs=100, patience=3)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    ndcg = [line["validation/NDCG@10"] for line in lines]
    assert len(lines) < 100 and len(lines) == int(np.argmax(ndcg)) + 1 + 3
    assert system.summary["best_epoch"] == int(np.argmax(ndcg)) + 1
    histories, targets = tiny.history("validation"), tiny.targets("validation")
    ranked = system.rank(histories, 10, exclude=histories).tolist()  # scores of real numbers: no ties
    places = [row.index(target) if target in row else None for row, target in zip(ranked, targets, strict=True)]
    again = np.mean([0.0 if place is None else 1 / np.log2(place + 2) for place in places])
    assert again == pytest.approx(max(ndcg), abs=1e-6)


def test_a_loss_that_is_no_number_is_said(tiny):
    with pytest.raises(UserError, match="give a lower lr"):
        SASRec.fit(tiny, **SETTINGS | {"lr": 1e38})


def test_what_is_drawn_is_not_ones_own():
    bought = Bought(Ragged.from_lists([[0, 1, 2, 3, 3], [], [9]]), 10)
    torch.manual_seed(0)
    users = torch.tensor([0, 1, 2]).repeat_interleave(5000)
    drawn = bought.outside(users).view(3, 5000)
    for row, n in zip(drawn, (6, 10, 9), strict=True):
        counts = np.bincount(row.numpy(), minlength=10)
        assert (counts > 0).sum() == n and counts.max() < 1.3 * 5000 / n
    assert drawn[0].min() == 4 and drawn[2].max() == 8
    sold = Bought(Ragged.from_lists([[0, 1, 2, 3, 3], [], [9]]), 10, by_anybody=True).outside(users).view(3, 5000)
    assert [set(row.tolist()) for row in sold] == [{9}, {0, 1, 2, 3, 9}, {0, 1, 2, 3}]


@pytest.mark.parametrize("again", [False, True])
def test_validation_is_what_the_lists_are_worth(again):
    """By a loop over `rank`; an item of the history cannot be found, but where people buy again."""
    system = SASRec(SASRec.check({"dim": 8}), 40, 25)
    rng = np.random.default_rng(0)
    histories = Ragged.from_lists([rng.integers(0, 25, rng.integers(1, 9)) for _ in range(40)])
    targets = rng.integers(0, 25, 40)
    targets[:5] = [history[0] for history in histories][:5]
    ranked = system.rank(histories, 25, exclude=None if again else histories).tolist()
    ranks = np.array([row.index(t) if t in row else 25 for row, t in zip(ranked, targets, strict=True)])
    gains = np.where(ranks < 10, 1 / np.log2(ranks + 2), 0)
    found = Validation(np.arange(40), histories, targets, again).scores(system)
    assert found == pytest.approx({"NDCG@10": np.mean(gains), "HR@10": np.mean([gain > 0 for gain in gains])})
    assert gains.any() and (ranks[:5] < 25).all() == again


def test_validation_follows_the_policy_of_the_data(tiny):
    class BuysAgain(Dataset):
        buys_again = True

    assert [Validation.of(data).again for data in (tiny, BuysAgain(tiny.path))] == [False, True]
