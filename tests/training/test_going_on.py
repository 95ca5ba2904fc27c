"""Training goes on from a run when the shop has new people and new items, and its rows stand in another order."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from vip5.data import Dataset, Ragged, prepare
from vip5.errors import UserError
from vip5.modalities.encode import encode
from vip5.modalities.encoders import load_encoder
from vip5.predict import Recommender, TrainedModel
from vip5.predict.baseline import fit_run
from vip5.prompts import Samples
from vip5.training import Run, load_config, train

CODES = {
    "atomic": ["codes.scheme=atomic", "codes.users=atomic"],
    "semantic": ["codes.scheme=semantic", "codes.semantic.size=6", "codes.semantic.levels=2", "codes.users=text"],
    "sequential": ["codes.scheme=sequential", "codes.users=atomic"],
}
GONE = 2  # the first items and people of before, whom the shop of today does not have


@pytest.fixture(scope="module")
def newer(tiny_data: Dataset, tmp_path_factory) -> Dataset:
    """The shop without two of its items and of its people, with three new ones each whose ids come first, all rows in
    another order."""
    folder = tmp_path_factory.mktemp("newer")
    items, users = tiny_data.items.drop("paper_id"), tiny_data.users["user"]
    fresh = items.tail(3).with_columns(pl.format("A-{}", pl.col("item")).alias("item"), title="New " + pl.col("title"))
    bought = tiny_data.interactions.select(
        items["item"].gather(tiny_data.interactions["item"]), users.gather(tiny_data.interactions["user"]), "timestamp"
    )
    bought = bought.with_columns(user_name=pl.col("user").replace_strict(users, tiny_data.users["name"]))
    few = bought.filter(pl.col("user").is_in(users.tail(3).implode()))
    newcomers = few.with_columns(pl.format("A-{}", pl.col("user")).alias("user"))
    of_new = few.group_by("user", maintain_order=True).last().with_columns(pl.col("timestamp") + 9, item=fresh["item"])
    gone = pl.col("item").is_in(items["item"].head(GONE).implode())
    left = pl.col("user").is_in(users.head(GONE).implode())
    columns = ["user", "user_name", "item", "timestamp"]
    pl.concat([part.select(columns) for part in (bought, newcomers, of_new)]).filter(
        ~gone & ~left
    ).reverse().write_parquet(folder / "bought.parquet")
    pl.concat([items, fresh]).filter(~gone).reverse().write_parquet(folder / "items.parquet")
    tables = {"interactions": folder / "bought.parquet", "items": folder / "items.parquet"}
    dataset = prepare(folder / "dataset", **tables, images=Path(str(tiny_data.manifest.images_root)))
    encode(dataset, load_encoder("basic"))
    return dataset


@pytest.fixture(scope="module", params=list(CODES))
def older(request, tiny_data, tiny_settings, tmp_path_factory) -> tuple[Path, list[str]]:
    """A run on the shop of before, and its settings."""
    out = tmp_path_factory.mktemp("older") / request.param
    settings = [*tiny_settings, *CODES[request.param], "optim.epochs=1"]
    train(Run.new(load_config("prompts", None, settings), tiny_data), out, quiet=True)
    return out, settings


def start(dataset: Dataset, folder: Path, settings: list[str]) -> Run:
    return Run.new(load_config("prompts", None, [*settings, f"model.backbone={folder}"]), dataset)


def test_the_same_data_starts_where_the_run_ended(older, tiny_data):
    """Every weight, every code, bit by bit."""
    folder, settings = older
    run, before = start(tiny_data, folder, settings), TrainedModel.load(folder)
    assert run.codes.words == before.codes.words and run.codes.new_tokens == before.codes.new_tokens
    ours, theirs = run.model.state_dict(), before.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def by_raw_id(model: TrainedModel) -> tuple[dict[str, list[int]], dict[str, str]]:
    """What the decoder writes for each item, and its word."""
    raw = model.catalogue.items["item"].to_list()
    targets = [row[row > 0].tolist() for row in model.codes.targets()]
    return dict(zip(raw, targets, strict=True)), dict(zip(raw, model.codes.words, strict=True))


def test_what_is_known_keeps_its_codes_and_rows(older, newer):
    folder, settings = older
    before, run = TrainedModel.load(folder), start(newer, folder, settings)
    old_items, new_items = set(before.catalogue.items["item"]), set(newer.items["item"])
    assert len(old_items & new_items) == 40 - GONE and len(new_items - old_items) == 3
    (old_tokens, old_words), (tokens, words) = by_raw_id(before), by_raw_id(run)
    for item in old_items & new_items:
        assert tokens[item] == old_tokens[item] and words[item] == old_words[item]
    assert len(set(words.values())) == len(words) == newer.n_items
    ours, theirs = run.model.state_dict(), before.model.state_dict()
    for name, table in theirs.items():
        if name != "user_tokens.weight":  # new tokens stand after the old ones
            assert torch.equal(ours[name][: len(table)], table), name
            assert len(ours[name]) == len(table) or name.startswith("new_")
    assert len(run.codes.new_tokens) == (0 if run.model.new_tokens is None else len(run.model.new_tokens.weight))
    if "user_tokens.weight" in theirs:
        rows, known = ours["user_tokens.weight"], before.catalogue.user_rows
        assert len(rows) == newer.n_users
        for row, user in zip(rows, newer.users["user"], strict=True):
            alike = (theirs["user_tokens.weight"] == row).all(dim=1)
            assert int(alike.sum()) == (user in known)
            assert user not in known or alike[known[user]]


def test_prompts_speak_of_people_and_items_as_they_did(older, newer):
    """Word by word, but for the places of items in the store of vectors."""
    folder, settings = older
    before, run = TrainedModel.load(folder), start(newer, folder, settings)
    user = next(user for user in before.catalogue.users["user"][10:] if user in run.catalogue.user_rows)
    item = next(item for item in before.catalogue.items["item"][10:] if item in run.catalogue.item_rows)
    for name in ("A-3", "B-5", "B-1"):
        spoken = []
        for model in (before, run):
            compiler, row = model.compiler([name]), model.catalogue.item_index(item)
            users, lists = np.array([model.catalogue.user_index(user)]), Ragged.from_lists([[row, row]])
            spoken.append(
                compiler.inputs(Samples.of(np.zeros(1, int), users, lists, lists, item=np.array([row]))).tokens
            )
        old, new = (tokens[tokens < before.codes.vocabulary.size].tolist() for tokens in spoken)
        assert old == new and len(old) > 5


def test_new_rows_lie_as_the_trained_ones_do(older, newer):
    folder, settings = older
    before, run = TrainedModel.load(folder), start(newer, folder, settings)
    for name in ("new_tokens.weight", "user_tokens.weight"):
        if name not in run.model.state_dict():
            continue
        ours, theirs = run.model.state_dict()[name], before.model.state_dict()[name]
        fresh = ours[[n for n, row in enumerate(ours) if not (theirs == row).all(dim=1).any()]]
        if len(fresh):
            assert torch.isfinite(fresh).all() and fresh.std() == pytest.approx(float(theirs.std()), rel=0.4)
            assert len(torch.unique(fresh, dim=0)) == len(fresh)


def test_it_is_trained_and_answers_with_what_is_new(older, newer, tmp_path):
    folder, settings = older
    before = (folder / "run.json").read_bytes()
    train(start(newer, folder, settings), tmp_path / "run", quiet=True)
    shop = Recommender(tmp_path / "run")
    fresh = [item for item in newer.items["item"] if item.startswith("A-")]
    newcomer = next(user for user in newer.users["user"] if user.startswith("A-"))
    everything = shop.recommend(newcomer, n=99, allow_again=True)
    assert {one.item for one in everything} == set(newer.items["item"]) and len(fresh) == 3
    assert len(shop.rank(fresh, user=newcomer)) == len(shop.similar(fresh[0], n=3)) == 3
    assert (folder / "run.json").read_bytes() == before


def test_a_second_time(older, newer, tiny_data, tmp_path):
    """Back on the shop of before: what the second run had forgotten is new again, the rest is as it was."""
    folder, settings = older
    train(start(newer, folder, settings), tmp_path / "second", quiet=True)
    second, third = TrainedModel.load(tmp_path / "second"), start(tiny_data, tmp_path / "second", settings)
    (their_tokens, their_words), (tokens, words) = by_raw_id(second), by_raw_id(third)
    for item in their_words.keys() & words.keys():
        assert tokens[item] == their_tokens[item] and words[item] == their_words[item]
    assert len(set(words.values())) == tiny_data.n_items
    third.finish(tmp_path / "third")
    assert TrainedModel.load(tmp_path / "third").codes.words == third.codes.words


def test_codes_that_cannot_take_new_items_say_so(tiny_data, newer, tiny_settings, tmp_path):
    settings = [*tiny_settings, "codes.scheme=collaborative", "modalities.photo=none", "optim.epochs=1"]
    train(Run.new(load_config("prompts", None, settings), tiny_data), tmp_path / "run", quiet=True)
    start(tiny_data, tmp_path / "run", settings)  # the same items
    with pytest.raises(UserError) as error:
        start(newer, tmp_path / "run", settings)
    said = str(error.value)
    assert "\n" not in said and "'collaborative' cannot take the 3 items that came since" in said
    assert "semantic or atomic" in said


def test_what_is_no_run_of_a_model_is_refused(tiny_data, tiny_settings, tmp_path):
    fit_run("popularity", tiny_data, tmp_path / "run", {}, "", quiet=True)
    with pytest.raises(UserError, match=r"is the run of a baseline, not of a model"):
        start(tiny_data, tmp_path / "run", tiny_settings)


def test_a_damaged_catalogue_is_one_line(older, newer, tmp_path):
    folder, settings = older
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run/catalogue/items.parquet").write_bytes(b"")
    with pytest.raises(UserError, match="cannot read the catalogue"):
        start(newer, tmp_path / "run", settings)
