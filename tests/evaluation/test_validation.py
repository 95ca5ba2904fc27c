"""The score that an epoch is chosen by, and a shop split at one point in time."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from vip5.audit.audit import audit_system
from vip5.data import prepare
from vip5.demo import write_demo
from vip5.errors import UserError
from vip5.evaluation.evaluate import evaluate
from vip5.model.input import EOS, PAD
from vip5.predict.answers import ModelSystem
from vip5.predict.lists import next_items
from vip5.predict.model import TrainedModel
from vip5.prompts import Samples
from vip5.training import Run, load_config, train
from vip5.training import validation as module
from vip5.training.validation import validation_score

from .conftest import by_hand, number


def test_validation_looks_at_the_validation_items_alone(model, tiny_data, monkeypatch):
    data, histories = tiny_data, tiny_data.history("validation")
    scores = validation_score(model, data, data.n_users, 10)
    found = next_items(model, "A-3", np.arange(data.n_users), histories, 10, histories).items
    hit, gain = by_hand(found, data.targets("validation"), 10)
    assert scores == {"A-3 NDCG@10": pytest.approx(gain), "A-3 HR@10": pytest.approx(hit)}
    monkeypatch.setattr(type(data), "targets", lambda self, split: {"validation": found[:, 0]}[split])
    assert validation_score(model, data, 4, 10)["A-3 NDCG@10"] == 1.0


def test_validation_looks_at_some_of_the_tested_users(model, some, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "next_items", lambda run, name, users, *rest: asked.append(users) or next_items(
        run, name, users, *rest))  # fmt: skip
    validation_score(model, some, 5, 10)
    assert len(asked[0]) == 5 and set(asked[0].tolist()) <= set(some.tested("validation").tolist())
    validation_score(model, some, 99, 10)
    assert sorted(asked[1].tolist()) == some.tested("validation").tolist() == [*range(10), *range(20, 30)]


def test_a_training_of_explanations_is_scored_by_what_the_true_ones_cost(tiny_data, tiny_settings):
    """One review at a time, each under the next of the prompts that it can fill, from the logits of the model."""
    names = ["C-1", "C-9"]
    settings = [*tiny_settings, f"prompts.train={json.dumps(names)}"]
    run = Run.new(load_config("prompts", None, settings), tiny_data)
    run.model.eval()
    reviews = tiny_data.reviews.with_row_index("row").filter(
        (pl.col("split") == "validation") & pl.col("explanation").is_not_null()
    )
    assert len(reviews) > 3
    costs = []
    for place, review in enumerate(reviews.iter_rows(named=True)):
        fits = [0, 1] if review["feature"] is not None else [0]
        prompt, where = fits[place % len(fits)], {"item": [review["item"]], "review": [review["row"]]}
        sample = Samples.of([prompt], [review["user"]], **{k: np.array(v) for k, v in where.items()})
        batch = run.batch(run.compiler(names), sample, targets=True)
        words = run.codes.vocabulary.tokenizer.encode(review["explanation"], add_special_tokens=False).ids
        told = [*words[: run.config.prompts.max_target - 1], EOS]
        state, token, logp = run.model.start(run.model.encode(batch), 1), torch.tensor([[PAD]]), []
        for wanted in told:
            logits = run.model.head(run.model.step(token, state).detach())[0, 0]
            logp.append(torch.log_softmax(logits, -1)[wanted].item())
            token = torch.tensor([[wanted]])
        costs.append(np.mean(logp))
    scores = validation_score(run, tiny_data, 10_000)
    assert scores == {"explanations log-likelihood": pytest.approx(np.mean(costs), abs=1e-4)}


def test_where_nobody_can_be_validated_it_is_said(model, some):
    counts = some.__dict__["_split_counts"]
    some.__dict__["_split_counts"] = np.stack([counts.sum(axis=0), 0 * counts[0], 0 * counts[0]])
    with pytest.raises(UserError, match="no user has both a training and a validation part: set it to 0"):
        validation_score(model, some, 10)


@pytest.mark.slow
def test_a_shop_split_by_time_from_tables_to_numbers(tmp_path, tiny_settings):
    """Users who came late are neither trained on nor scored, and are no reason to stop."""
    write_demo(tmp_path / "shop", users=30, items=40)
    tables = {name: tmp_path / "shop" / f"{name}.csv" for name in ("interactions", "items", "reviews")}
    late = pl.read_csv(tables["interactions"]).with_columns(pl.col("user") + " late", pl.col("timestamp") + 10**9)
    pl.concat([pl.read_csv(tables["interactions"]), late.head(30)]).write_csv(tables["interactions"])
    data = prepare(tmp_path / "data", **tables, split="time", candidates=9, candidates_by="popularity")
    tested = data.tested("test")
    assert 0 < len(tested) < data.n_users and (data.history("train").lengths == 0).any()
    settings = [*tiny_settings, "modalities.photo=none", "optim.epochs=1", "run.validate_epochs=1"]
    train(
        Run.new(load_config("prompts", None, [*settings, "run.validate_users=9"]), data), tmp_path / "run", quiet=True
    )
    system = ModelSystem(TrainedModel.load(tmp_path / "run"))
    done = evaluate(system, data, ["A-3", "B-5"])
    assert {r.n for r in done.results if r.group == "all"} == {len(tested)}
    assert number(done, "B-5", "HR@1").task == "one of 10"
    assert audit_system(system, data).reasons == []
