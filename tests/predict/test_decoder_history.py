"""A run whose decoder reads the history, with every term of the score: trained, saved, opened, asked."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from vip5.data import prepare
from vip5.demo import write_demo
from vip5.evaluation.held_out import HeldOut
from vip5.modalities.encode import encode
from vip5.modalities.encoders import load_encoder
from vip5.predict import Recommender, TrainedModel
from vip5.predict.answers import ModelSystem
from vip5.predict.lists import explain, scored_choice, scored_next, write_next
from vip5.predict.system import Decoding
from vip5.training import Run, load_config, train

SETTINGS = [
    "prompts.history=decoder",
    "codes.scheme=atomic",
    "modalities.photo.row=true",
    "modalities.photo.score=true",
    *(f"scores.{name}=true" for name in ("transitions", "together", "words", "popularity", "again")),
    "optim.averaging=0.9",
    "optim.decay=false",
    "optim.negatives=20",
    "run.validate_epochs=1",
    "run.patience=1",
    "optim.epochs=6",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("decoder") / "run"


@pytest.fixture(scope="module")
def trained(tiny_data, tiny_settings, folder) -> Run:
    """The run as it is when its training has ended, which left it in `folder`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = Run.new(load_config("prompts", None, [*tiny_settings, *SETTINGS]), tiny_data)
    scores = iter([0.1, 0.3, 0.2, 0.4])  # the third is no better than the second, and patience is one
    train(run, folder, validate=lambda run: {"x": next(scores)}, quiet=True)
    torch.set_num_threads(threads)
    return run


def test_it_stops_by_itself_with_the_best_weights(trained, folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["epochs"], summary["best_epoch"]) == (3, 2) and summary["targets"] > summary["samples"]


def test_an_item_that_nobody_took_has_its_content_alone(tiny_settings, tmp_path):
    """All that it could learn as a wrong answer is to be unlikely."""
    write_demo(tmp_path / "shop", users=30, items=40)
    tables = {name: tmp_path / f"shop/{name}.csv" for name in ("interactions", "items")}
    for name, table in tables.items():  # an item more, bought once, after all else
        rows = pl.read_csv(table)
        late = rows.head(1).with_columns(pl.lit("late").alias("item"))
        if name == "interactions":
            late = late.with_columns(timestamp=pl.lit(2**31))
        pl.concat([rows, late.cast(dict(rows.schema))]).write_csv(table)
    dataset = prepare(tmp_path / "data", **tables, images=tmp_path / "shop/images", split="time", holdout=0.2)
    encode(dataset, load_encoder("basic"))
    run = Run.new(load_config("prompts", None, [*tiny_settings, *SETTINGS, "optim.epochs=1"]), dataset)
    train(run, tmp_path / "run", quiet=True)
    taken = np.isin(np.arange(dataset.n_items), dataset.history("train").values)
    assert not taken[dataset.item_index("late")]
    learned = TrainedModel.load(tmp_path / "run").model.new_tokens.weight
    assert (learned[~taken] == 0).all() and (learned[taken] != 0).all()
    with torch.no_grad():
        torch.testing.assert_close(run.model.all_rows()[~taken], run.model.row_content["photo"]()[~taken])


def test_sentences_are_of_text_alone(trained, tiny_data):
    """Items are taught apart, so what the head says of them after a text means nothing: here they would always win."""
    asked = tiny_data.reviews.filter(pl.col("explanation").is_not_null()).head(8)
    asked = asked.select("user", "item", "rating", "headline", "feature")
    told = {beams: explain(trained, "C-3", asked, beams) for beams in (1, 4)}
    scales = trained.model.item_scales.data.clone()
    trained.model.item_scales.data[1] *= 1e4
    try:
        assert {beams: explain(trained, "C-3", asked, beams) for beams in (1, 4)} == told
    finally:
        trained.model.item_scales.data = scales


def test_opened_again_it_answers_the_same(trained, folder, tiny_data):
    held, opened = HeldOut.of(tiny_data), TrainedModel.load(folder)
    asked = "A-3", held.users, held.histories
    for one, other in (
        (scored_next(trained, *asked, 10, held.histories), scored_next(opened, *asked, 10, held.histories)),
        (scored_choice(trained, *asked, held.lists), scored_choice(opened, *asked, held.lists)),
    ):
        assert (one.items == other.items).all() and np.allclose(one.scores, other.scores, atol=1e-5)


def test_lists_are_right_and_probabilities_sum_to_one(trained, tiny_data):
    held = HeldOut.of(tiny_data)
    every = scored_next(trained, "A-3", held.users, held.histories, tiny_data.n_items)
    assert (np.sort(every.items) == np.arange(tiny_data.n_items)).all()
    assert np.exp(every.scores.astype(float)).sum(axis=1) == pytest.approx(1, abs=1e-3)
    assert (np.diff(every.scores) <= 1e-6).all()
    without = scored_next(trained, "A-3", held.users, held.histories, 40, held.histories)
    assert not any(set(row[row >= 0]) & set(had) for row, had in zip(without.items, held.histories, strict=True))
    among = scored_next(trained, "A-3", held.users, held.histories, 5, None, np.array([3, 8, 11]))
    assert set(among.items.ravel()) == {3, 8, 11, -1}
    chosen = scored_choice(trained, "A-3", held.users, held.histories, held.lists)
    assert (np.sort(chosen.items) == np.sort(held.lists)).all()
    assert np.exp(chosen.scores.astype(float)).sum(axis=1) == pytest.approx(1, abs=1e-3)


def test_what_is_written_freely_is_the_network_alone(trained, tiny_data):
    held, system = HeldOut.of(tiny_data), ModelSystem(trained)
    asked = trained.prompts["A-3"], held.users, held.histories, 10
    free, scored = (system.rank(*asked, Decoding(decode)) for decode in ("free", "exact"))
    written = write_next(trained, "A-3", held.users, held.histories, 20)
    assert (free.items == written.items).all() and not np.array_equal(free.items[:, :10], scored.items[:, :10])


def test_many_at_once_are_as_one_by_one(trained, tiny_data):
    held = HeldOut.of(tiny_data)
    together = scored_next(trained, "A-3", held.users, held.histories, 10)
    for row in (0, 7, 19):
        alone = scored_next(trained, "A-3", held.users[[row]], held.histories.take(np.array([row])), 10)
        assert np.allclose(alone.scores[0], together.scores[row], atol=1e-4)


def test_one_more_purchase_and_none_at_all(trained, folder, tiny_data):
    shop = Recommender(folder, dataset=False)
    items = tiny_data.items["item"].to_list()
    first, then = shop.recommend(history=[], n=5), shop.recommend(history=items[:1], n=5)
    assert len(first) == len(then) == 5 and items[0] not in [one.item for one in then]
    ranked = shop.rank(items[:4], history=items[5:7])
    assert sum(one.probability for one in ranked) == pytest.approx(1, abs=1e-4)


def test_weights_of_the_terms_are_chosen_on_what_is_validated(make_shop):
    """In a shop whose people walk a ring of items, what follows what is all there is to know."""
    rng = np.random.default_rng(0)
    walks = {
        f"u{n}": [str((start + step) % 30) for step in range(8)] for n, start in enumerate(rng.integers(0, 30, 90))
    }
    shop = make_shop(walks, {"item": [str(n) for n in range(30)], "title": ["same"] * 30})
    settings = ["modalities.photo=none", "codes.scheme=atomic", "prompts.history=decoder", "model.tokenizer_size=300"]
    counts = ["samples.next=1", "samples.next_yes_no=0", "samples.yes_no=0", "samples.choice=0", "optim.epochs=1"]
    terms = ["scores.transitions=true", "scores.words=true", "run.validate_users=90"]
    run = Run.new(load_config("prompts", None, [*settings, *counts, *terms]), shop)
    train(run, shop.path.parent / "run", quiet=True)
    assert run.terms.weights["transitions"] > 0.1 and run.terms.choice_weights["transitions"] > 0.1
    assert run.terms.weights["words"] == 0  # all items are called the same
    held = HeldOut.of(shop)
    found = ModelSystem(run).rank(run.prompts["A-3"], held.users, held.histories, 10, Decoding(), held.histories)
    assert (found.items[:, 0] == held.targets).mean() >= 0.9
    likely = np.exp(found.scores[:, 0]).mean()
    assert likely > 0.5  # and it is as sure as it is right


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["prompts.history=prompt"], "modalities.photo.row is for histories in the decoder"),
        (["codes.scheme=semantic"], "modalities.photo.row is for items with one token each"),
        (['prompts.train=["C-3"]'], "no prompt of that task is trained"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_training(
    settings, said, tiny_data, tiny_settings, tmp_path, refusal
):
    config = load_config("prompts", None, [*tiny_settings, *SETTINGS, *settings])
    assert said in refusal(lambda: train(Run.new(config, tiny_data), tmp_path / "run", quiet=True))
