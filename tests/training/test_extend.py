"""A run takes in what came since it was trained, without training."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from vip5.data import Dataset, Ragged
from vip5.modalities.vectors import encode_vectors, open_vectors
from vip5.predict.lists import item_scores
from vip5.predict.model import TrainedModel
from vip5.training import Run, load_config, train
from vip5.training.extend import extend

KNOWN = [f"i{n:02}" for n in range(20)]
BOUGHT = {f"u{n}": [KNOWN[(n + k) % 20] for k in range(6)] for n in range(20)}
VECTORS = dict(zip([*KNOWN, "a-new"], np.random.default_rng(0).normal(size=(21, 8)).astype(np.float32), strict=True))


def with_vectors(data: Dataset, tmp_path) -> Dataset:
    table = pl.DataFrame({"item": list(VECTORS), "vector": [x.tolist() for x in VECTORS.values()]})
    table.write_parquet(tmp_path / "vectors.parquet")
    encode_vectors(data, open_vectors(tmp_path / "vectors.parquet"), "sound")
    return data


@pytest.fixture
def old(make_shop, tmp_path) -> Dataset:
    return with_vectors(make_shop(BOUGHT, {"item": KNOWN, "title": KNOWN}), tmp_path)


@pytest.fixture
def newer(make_shop, tmp_path) -> Dataset:
    """An item that comes before the others in the catalogue, and a person who bought it last."""
    bought = {"0-new": [*KNOWN[:5], "a-new"], **BOUGHT}
    return with_vectors(
        make_shop(bought, {"item": ["a-new", *KNOWN[::-1]], "title": ["a-new", *KNOWN[::-1]]}), tmp_path
    )


@pytest.fixture
def run(old, tmp_path):
    settings = [
        "model.tokenizer_size=300",
        "optim.epochs=2",
        "optim.batch_size=4",
        "optim.averaging=0",
        "optim.warmup=0",
    ]
    train(Run.new(load_config("best", None, settings), old), tmp_path / "run", quiet=True)
    return tmp_path / "run"


def scores(model: TrainedModel, data: Dataset, history: list[str]) -> dict[str, float]:
    """Log-probability of each item after a history, by raw id, of the network alone."""
    rows = Ragged.from_lists([[data.items["item"].to_list().index(raw) for raw in history]])
    with torch.inference_mode():
        ((_, found),) = item_scores(model, "A-3", np.array([-1]), rows)
    return dict(zip(data.items["item"], found[0].tolist(), strict=True))


def test_the_same_shop_gives_the_same_answers(run, old):
    before, after = TrainedModel.load(run), extend(run, old)
    assert scores(after, old, KNOWN[3:6]) == pytest.approx(scores(before, old, KNOWN[3:6]), abs=1e-5)
    assert after.terms.weights == before.terms.weights and after.terms.power == before.terms.power


def test_items_keep_what_was_learnt_of_them_wherever_they_stand_now(run, old, newer, tmp_path):
    before = scores(TrainedModel.load(run), old, KNOWN[3:6])
    extended = extend(run, newer)
    extended.finish(tmp_path / "newer")
    for model in (extended, TrainedModel.load(tmp_path / "newer")):
        after = scores(model, newer, KNOWN[3:6])
        shift = {round(after[raw] - before[raw], 4) for raw in KNOWN}
        assert len(shift) == 1 and shift.pop() < 0  # there is one item more to share with
    assert json.loads((tmp_path / "newer/run.json").read_text())["dataset"]["hash"] == newer.hash


def test_an_item_that_came_twice_ago_is_still_new(run, old, newer, tmp_path):
    once = extend(run, newer)
    assert once.terms.new.tolist() == [True] + [False] * 20
    once.finish(tmp_path / "once")
    assert extend(tmp_path / "once", newer).terms.new.tolist() == once.terms.new.tolist()
    assert TrainedModel.load(tmp_path / "once").terms.new.tolist() == once.terms.new.tolist()
    assert extend(run, old).terms.new is None


def test_a_new_person_is_the_mean_of_the_others(old, newer, tmp_path):
    """Where people have tokens of their own."""
    settings = ["model.tokenizer_size=300", "codes.users=atomic", "samples.forget_user=0.5", "optim.epochs=1"]
    train(Run.new(load_config("best", None, settings), old), tmp_path / "run", quiet=True)
    before, after = TrainedModel.load(tmp_path / "run").model, extend(tmp_path / "run", newer).model
    assert newer.users["user"][0] == "0-new"
    torch.testing.assert_close(after.user_tokens.weight[0], before.user_tokens.weight.mean(dim=0))
    torch.testing.assert_close(after.user_tokens.weight[1:], before.user_tokens.weight)


def test_who_was_never_named_in_training_is_not_named(run, old):
    model, history = TrainedModel.load(run), Ragged.from_lists([[3, 4, 5]])
    with torch.inference_mode():
        known, nobody = (next(item_scores(model, "A-3", np.array([u]), history))[1] for u in (7, -1))
    assert torch.equal(known, nobody)


def test_a_new_item_is_what_its_vector_says(run, newer):
    """It scores as a known item would that has the same vector and of which nothing else was learnt."""
    model = extend(run, newer)
    token = model.codes.targets()[:, 0] - model.model.config.text_vocab
    new, twin = 0, newer.items["item"].to_list().index(KNOWN[4])
    content = model.model.row_content["sound"]
    assert newer.items["item"][new] == "a-new" and token[new] == 20 and not model.model.new_tokens.weight[20].any()
    with torch.no_grad():
        content.vectors[token[twin]] = content.vectors[token[new]]
        model.model.new_tokens.weight[token[twin]] = 0
    model.model.eval()
    found = scores(model, newer, KNOWN[6:9])
    assert found["a-new"] == pytest.approx(found[KNOWN[4]], abs=1e-5) and found["a-new"] != found[KNOWN[5]]
