"""The loss of whole histories is what decoding says of their items, one after the other."""

import numpy as np
import pytest
import torch

from vip5.data import Ragged
from vip5.decoding import beam_search, best_items, score_items, top_items
from vip5.prompts import Samples
from vip5.training import Run, load_config
from vip5.training.batches import Feed
from vip5.training.loss import ItemLoss, ItemTargets

SETTINGS = ["prompts.history=decoder", "prompts.max_history=6", "modalities.photo.row=true", "model.dropout=0.0"]
SEMANTIC = ["codes.scheme=semantic", "codes.semantic.size=6", "modalities.photo.row=false"]


@pytest.fixture(params=["atomic", "semantic"])
def run(request, tiny_data, tiny_settings) -> Run:
    """An untrained run whose rows are far from alike, so that every item matters."""
    scheme = SEMANTIC if request.param == "semantic" else ["codes.scheme=atomic"]
    run = Run.new(load_config("prompts", None, [*tiny_settings, *SETTINGS, *scheme]), tiny_data)
    with torch.no_grad():
        run.model.item_scales[1] = 0.5
    run.model.eval()
    return run


def histories() -> Ragged:
    return Ragged.from_lists([[3, 9, 20, 3], [7, 1], [39]])


def targets(run: Run) -> ItemTargets:
    samples = Samples.of(np.zeros(3, int), np.array([-1, 4, -1]), then=histories())
    batch = Feed(run, run.compiler(["A-3"]), "cpu").batch(samples)
    assert isinstance(batch, ItemTargets)
    return batch


def losses(run: Run, negatives: int | None = None) -> torch.Tensor:
    return ItemLoss(run.trie, torch.from_numpy(run.codes.targets()), negatives)(run.model, targets(run))


def asked(run: Run, past: list[list[int]], users: list[int]):
    samples = Samples.of(np.zeros(len(past), int), np.array(users), then=Ragged.from_lists(past))
    return run.batch(run.compiler(["A-3"]), samples)


@torch.no_grad()
def test_it_is_what_decoding_says_of_each_item_after_those_before_it(run):
    expected = []
    for row, user in zip(histories(), [-1, 4, -1], strict=True):
        steps = [score_items(run.model, asked(run, [row[:n].tolist()], [user]), run.trie)[0] for n in range(len(row))]
        expected.append(-sum(float(step[item]) for step, item in zip(steps, row, strict=True)))
    assert losses(run).tolist() == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_all_searches_agree_behind_a_history(run):
    batch = asked(run, [[3, 9], [7, 1], [0, 39]], [-1, 4, 2])
    exclude = Ragged.from_lists([[3, 9], [], [0]])
    items, scores = top_items(score_items(run.model, batch, run.trie), 10, exclude)
    found = beam_search(run.model, batch, trie=run.trie, beams=40, exclude=exclude)
    bounded, bounded_scores = best_items(run.model, batch, run.trie, 10, exclude)
    assert torch.allclose(found.scores_BK[:, :10], scores, atol=1e-4)
    assert torch.allclose(bounded_scores, scores, atol=1e-4)
    assert (found.items_BK[:, :10] == items).float().mean() > 0.99 and (bounded == items).float().mean() > 0.99


def test_negatives_that_are_all_items_give_the_whole_softmax(tiny_data, tiny_settings, monkeypatch):
    settings = [*tiny_settings, *SETTINGS, "codes.scheme=atomic"]
    run = Run.new(load_config("prompts", None, settings), tiny_data)
    run.model.eval()
    whole, n = losses(run), tiny_data.n_items
    assert not torch.allclose(losses(run, negatives=5), whole, atol=0.1)
    loss = ItemLoss(run.trie, torch.from_numpy(run.codes.targets()), n - 1)
    monkeypatch.setattr(torch, "randint", lambda high, size: torch.arange(high))
    assert torch.allclose(loss(run.model, targets(run)), whole, atol=1e-4)


def test_alike_prompts_are_read_once_and_every_row_learns(run):
    batch = targets(run)
    assert len(batch.batch.input_ids) == 2 and batch.batch.prompt_rows.tolist() == [0, 1, 0]
    run.model.train()
    ItemLoss(run.trie, torch.from_numpy(run.codes.targets()), None)(run.model, batch).sum().backward()
    missing = {name for name, weight in run.model.named_parameters() if weight.requires_grad and weight.grad is None}
    unread = ("modalities.", "row_content.photo.missing")  # nothing is shown in a prompt, and every item has a photo
    assert all(name.startswith(unread) for name in missing), missing
