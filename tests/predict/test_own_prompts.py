"""A prompt of one's own that shows history and candidates together: trained, evaluated and asked."""

import json
from pathlib import Path

import pytest

from vip5.data import Ragged
from vip5.evaluation.evaluate import evaluate
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.ranking import ranks_in_list
from vip5.evaluation.stored import load_ranks
from vip5.predict import Recommender, answers
from vip5.predict.answers import ModelSystem
from vip5.predict.lists import choose, write_choice
from vip5.training import Run, load_config, train

PROMPTS = """
[[prompt]]
id = "MY-1"
task = "choice"
input = "User_{user_id} bought {purchase_history} . Choose one of {candidates}"
target = "{item_id}"
"""
RECENT = 3  # items of a history that are shown


@pytest.fixture(scope="module", params=["prompt", "decoder"])
def run(request, tiny_data, tiny_settings, one_thread, tmp_path_factory) -> Path:
    """Trained with the prompt beside the built-in ones, wherever the history of next items stands."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.toml").write_text(PROMPTS)
    trained = 'prompts.train=["A-3","B-5","MY-1"]'
    own = [f"prompts.extra={folder / 'own.toml'}", f"prompts.max_history={RECENT}", trained, "samples.choice=4"]
    config = load_config("prompts", None, [*tiny_settings, *own, f"prompts.history={request.param}"])
    train(Run.new(config, tiny_data), folder / "run", quiet=True)
    return folder / "run"


@pytest.fixture(scope="module")
def shop(run) -> Recommender:
    return Recommender(run)


@pytest.fixture(scope="module")
def items(shop) -> list[str]:
    return shop.catalogue.items["item"].to_list()


def test_it_is_ranked_by_the_most_recent_of_the_history(shop, items, refusal):
    user, among, past = shop.catalogue.users["user"][3], items[:7], items[20:26]
    ranked = shop.rank(among, user=user, prompt="MY-1")
    assert sorted(one.item for one in ranked) == sorted(among)
    assert sum(one.probability for one in ranked) == pytest.approx(1, abs=1e-5)
    bought = [items[row] for row in shop.people.get(user)]
    assert ranked == shop.rank(among, user=user, history=bought, prompt="MY-1", by="prompt")
    given = shop.rank(among, user=user, history=past, prompt="MY-1")
    assert given != ranked and given == shop.rank(among, user=user, history=past[-RECENT:], prompt="MY-1")
    assert given != shop.rank(among, user=user, history=past[::-1], prompt="MY-1")
    stranger = shop.rank(among, user="nobody", history=past, prompt="MY-1")
    assert stranger == shop.rank(among, history=past, prompt="MY-1") != given
    assert len(shop.rank(among, history=[], prompt="MY-1")) == len(among)
    said = refusal(shop.rank, among, user="nobody", prompt="MY-1")
    assert "nothing is known of what 'nobody' bought" in said and "give a history" in said
    assert "asks about a person whom the run knows" in refusal(shop.rank, among, history=past, prompt="B-5")


def test_it_is_evaluated_with_what_was_known_before_the_target(shop, tiny_data, tmp_path, monkeypatch):
    system, held, found = shop.system, HeldOut.of(tiny_data), []
    assert isinstance(system, ModelSystem)
    monkeypatch.setattr(answers, "choose", lambda *given: found.append(choose(*given)) or found[-1])
    everything = held.lists.shape[1]
    done = evaluate(system, tiny_data, ["MY-1"], EvaluateOptions(beams=everything))
    known = Ragged.from_lists([tiny_data.sequences[user][:-1] for user in held.users])  # all but the target
    by_hand = choose(system.model, "MY-1", held.users, known, held.lists, everything)
    assert (found[0].items == by_hand.items).all() and (found[0].scores == by_hand.scores).all()
    assert (done.ranked["MY-1"][1].ranks[:, 0] == ranks_in_list(by_hand.items, held.targets, by_hand.scores)).all()
    done.save(tmp_path)
    assert len(load_ranks(tmp_path).filter(prompt="MY-1")) == len(held)
    without = choose(system.model, "MY-1", held.users, Ragged.from_lists([[]] * len(held)), held.lists, everything)
    assert (without.scores != by_hand.scores).all(axis=1).mean() > 0.9
    written = write_choice(system.model, "MY-1", held.users, known, held.lists, 8).items
    assert all(set(row) <= {-1, *own} for row, own in zip(written.tolist(), held.lists.tolist(), strict=True))


def test_the_run_keeps_the_prompt(run):
    assert "MY-1" in (run / "prompts.toml").read_text()
    assert "MY-1" in json.loads((run / "run.json").read_text())["config"]["prompts"]["train"]


def test_candidates_that_would_be_cut_off_are_refused_before_training(
    tiny_data, tiny_settings, tmp_path, shop, items, refusal
):
    """The remedy works: with what is said to be enough, it trains."""
    (tmp_path / "own.toml").write_text(PROMPTS)
    own = [f"prompts.extra={tmp_path / 'own.toml'}", 'prompts.train=["MY-1"]', "optim.epochs=1"]

    def start(limit: int) -> None:
        config = load_config("prompts", None, [*tiny_settings, *own, f"prompts.max_input={limit}"])
        train(Run.new(config, tiny_data), tmp_path / f"run-{limit}", quiet=True)

    said = refusal(start, 40)
    assert "prompt MY-1 with 8 candidates is " in said and "more than prompts.max_input (40)" in said
    enough = int(said.split("prompts.max_input=")[1].split(",")[0])
    start(enough)
    small = Recommender(tmp_path / f"run-{enough}")
    user, past = small.catalogue.users["user"][0], items[:20]
    assert len(small.rank(items[:8], user=user, history=past, prompt="MY-1")) == 8
    said = refusal(small.rank, items, user=user, history=past, prompt="MY-1")
    assert f"with {len(items)} candidates" in said and "take fewer candidates" in said
    assert len(shop.rank(items, user=user, history=past, prompt="MY-1")) == len(items)
