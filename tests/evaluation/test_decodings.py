"""The lists that a model is scored by: nothing out of place, the same in whatever company, exact, or freely written."""

import numpy as np
import pytest

from vip5.data import Dataset
from vip5.data.keywords import checked
from vip5.decoding import score_items, top_items
from vip5.errors import UserError
from vip5.evaluation.evaluate import evaluate
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.options import EvaluateOptions
from vip5.predict import lists as module
from vip5.predict.answers import ModelSystem
from vip5.predict.lists import choose, exact_next, next_items, write_choice, write_next
from vip5.predict.model import TrainedModel
from vip5.prompts import Samples
from vip5.training import Run, load_config, train

from .conftest import by_hand, number


def right_lists(model: TrainedModel, data: Dataset) -> int:
    """How many people get all items but their own, each once, with falling probabilities of at most 1."""
    users, histories = np.arange(data.n_users), data.history("test")
    found = next_items(model, "A-3", users, histories, data.n_items, histories)
    assert found.scores is not None
    for user in users:
        items = found.items[user][found.items[user] >= 0].tolist()
        assert sorted(items) == sorted(set(range(data.n_items)) - set(histories[user].tolist()))
        scores = found.scores[user][: len(items)]
        assert (np.diff(scores) <= 0).all() and np.isneginf(found.scores[user][len(items) :]).all()
        assert np.exp(scores.astype(float)).sum() <= 1 + 1e-5
    everything = next_items(model, "A-3", users[:3], histories.take(users[:3]), data.n_items)
    assert everything.scores is not None
    assert np.exp(everything.scores.astype(float)).sum(1) == pytest.approx(1, abs=1e-4)
    return len(found.items)


def test_own_history_never_comes_out_and_nothing_twice(model, tiny_data):
    assert right_lists(model, tiny_data) == tiny_data.n_users


@pytest.mark.slow
def test_a_run_of_text_with_codes_by_number(tiny_data, tiny_settings, tmp_path):
    """Items of several tokens, no photos: everything holds as well."""
    own = ["codes.scheme=sequential", "codes.users=text", "modalities.photo=none", "optim.epochs=1"]
    train(Run.new(load_config("prompts", None, [*tiny_settings, *own]), tiny_data), tmp_path / "run", quiet=True)
    model = TrainedModel.load(tmp_path / "run")
    assert not model.stores and model.codes.targets().shape[1] > 2
    assert right_lists(model, tiny_data) == tiny_data.n_users
    prompts = ["A-9", "B-8", "C-12"]
    assert {r.prompt for r in evaluate(ModelSystem(model), tiny_data, prompts).results} == set(prompts)


def test_answers_do_not_depend_on_who_is_asked_together(model, tiny_data, monkeypatch):
    asked = model, "A-3", np.arange(tiny_data.n_users), tiny_data.history("test"), 5
    whole = next_items(*asked)
    monkeypatch.setattr(module, "BATCH_TOKENS", 1)  # one user at a time
    alone = next_items(*asked)
    assert np.allclose(whole.scores, alone.scores, atol=1e-4) and (whole.items == alone.items).mean() > 0.99


@pytest.mark.parametrize("prompt", ["B-5", "B-8"])
def test_candidates_are_ranked_whole(model, tiny_data, prompt):
    lists = HeldOut.of(tiny_data).lists
    found = choose(model, prompt, np.arange(tiny_data.n_users), tiny_data.history("test"), lists, lists.shape[1])
    assert (np.sort(found.items) == np.sort(lists)).all()
    assert np.exp(found.scores.astype(float)).sum(1) == pytest.approx(1, abs=1e-4)


def test_exact_lists_are_those_of_all_scores(model, system, tiny_data):
    """As many beams as items drop nothing, and neither does scoring every item: both are the truth."""
    data = tiny_data
    users, history, targets = np.arange(data.n_users), data.history("test"), data.targets("test")
    ranking = exact_next(model, "A-3", users, history, 10, history)
    whole = next_items(model, "A-3", users, history, data.n_items, history)
    assert np.allclose(ranking.scores, whole.scores[:, :10], atol=1e-4)
    assert (ranking.items == whole.items[:, :10]).mean() > 0.95
    compiler = model.compiler(["A-3"])
    batch = model.batch(compiler, Samples.of(np.zeros(len(users), int), users, history))
    best = top_items(score_items(model.model, batch, model.trie), 10, history)[1].numpy()
    assert np.allclose(ranking.scores, best, atol=1e-4)
    options = EvaluateOptions(decode="exact", cutoffs=(10, 25), beams=25)
    done = evaluate(system, data, ["A-3", "B-5"], options)
    assert number(done, "A-3", "HR@25").value == pytest.approx(by_hand(whole.items, targets, 25)[0], abs=0.04)
    assert done.ranked["A-3"][1].depth == 25
    lists = HeldOut.of(data).lists
    assert (done.ranked["B-5"][1].lists[0] == choose(model, "B-5", users, history, lists, lists.shape[1]).items).all()


def test_what_is_written_freely_may_be_no_item(model, system, tiny_data):
    """Places of codes that do not exist are wasted, and counted; with every code legal there are none to waste."""
    data, users = tiny_data, np.arange(tiny_data.n_users)
    found = write_next(model, "A-3", users, data.history("test"), 20)
    valid = found.items[found.items >= 0]
    assert found.items.shape == (data.n_users, 20) and len(valid) and valid.max() < data.n_items
    lists = HeldOut.of(data).lists
    chosen = write_choice(model, "B-5", users, data.history("test"), lists, 20).items
    assert all(set(row) <= {-1, *shown} for row, shown in zip(chosen.tolist(), lists.tolist(), strict=True))
    done = evaluate(system, data, ["A-3", "B-5"], EvaluateOptions(decode="free"))
    by_hand_invalid = np.mean([np.mean([item < 0 for item in row[:10]]) for row in found.items.tolist()])
    assert number(done, "A-3", "invalid@10").value == pytest.approx(by_hand_invalid)
    assert number(done, "A-3", "repeated@10").value == 0  # an atomic code is one token
    usual = evaluate(system, data, ["A-3"]).results
    assert not [r for r in usual if r.metric.startswith(("invalid", "repeated"))]


def test_codes_are_read_back_from_tokens(model):
    codes = model.codes
    assert [codes.spelled(row) for row in codes.targets()] == codes.words
    assert codes.spelled(np.array([5, 1])) == "?" and codes.spelled(np.array([1])) == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"beams": 5}, "5 beams find no 10 items to score: give at least 10"),
        ({"cutoffs": ()}, "no cut-offs of 1 or more to score at"),
        ({"cutoffs": (0,)}, "no cut-offs of 1 or more to score at"),
        ({"decode": "guess"}, "decode='guess' does not fit"),
        ({"beam": 5}, "unknown option 'beam': the options are decode, beams"),
    ],
)
def test_options_that_cannot_be(wrong, said):
    with pytest.raises(UserError, match=said) as caught:
        checked(EvaluateOptions, wrong)
    assert "\n" not in str(caught.value) and "None" not in str(caught.value)
