"""A run is complete: its folder alone answers, wherever it lies, when the data set and the photos are gone."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vip5.predict import Recommender

KINDS = ("photos", "text", "item-knn", "bpr-mf", "peter", "frequent-sentence")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_moved_answers_as_before(kind, own_place, ask, tmp_path):
    before = ask(Recommender(own_place / "runs" / kind), kind)
    shutil.copytree(own_place / "runs" / kind, tmp_path / "elsewhere")
    shutil.rmtree(own_place)
    shop = Recommender(tmp_path / "elsewhere")
    assert shop.people is None and ask(shop, kind) == before
    assert all(before.values())


@pytest.mark.parametrize("kind", ["photos", "text"])
def test_a_model_ranks_for_a_known_person_without_any_history(kind, own_place):
    """B-5 asks about the person, so neither a data set nor a history is needed."""
    opened = Recommender(own_place / "runs" / kind)
    user, items = opened.catalogue.users["user"][3], opened.catalogue.items["item"].to_list()
    before = opened.rank(items[:6], user=user, by="prompt")
    shutil.rmtree(own_place / "dataset")
    assert Recommender(own_place / "runs" / kind).rank(items[:6], user=user) == before


def test_a_known_person_is_recommended_to_by_what_the_data_set_says_they_had(own_place, refusal):
    run = own_place / "runs/item-knn"
    opened = Recommender(run)
    user = opened.catalogue.users["user"][3]
    assert opened.people is not None
    past = opened.people.get(user)
    assert past is not None
    history = [opened.catalogue.items["item"][int(row)] for row in past]
    looked_up = opened.recommend(user)
    shutil.copytree(own_place / "dataset", own_place / "moved")
    shutil.rmtree(own_place / "dataset")
    alone = Recommender(run)
    said = refusal(alone.recommend, user)
    assert "no dataset folder is at hand" in said and "give a history, or the dataset folder" in said
    assert alone.recommend(user, history=history) == looked_up  # each of the two remedies
    assert Recommender(run, own_place / "moved").recommend(user) == looked_up


def test_any_way_to_write_the_path(place, ask, monkeypatch):
    run, answers = place / "runs/text", ask(Recommender(place / "runs/text"), "text")
    monkeypatch.chdir(place / "runs")
    for path in ("text", "../runs/text", Path("text"), "../runs/../runs/text", str(run), os.path.relpath(run)):
        shop = Recommender(path)
        assert shop.people is not None and ask(shop, "text") == answers


def test_histories_are_read_from_no_data_set_where_that_is_asked(place, refusal):
    shop = Recommender(place / "runs/text", dataset=False)
    assert "no dataset folder is at hand" in refusal(shop.recommend, shop.catalogue.users["user"][0])


def as_format_1(folder: Path) -> None:
    """What a run of before says of itself."""
    import json

    about = json.loads((folder / "run.json").read_text())
    del about["format"]
    (folder / "run.json").write_text(json.dumps(about))


@pytest.fixture
def of_before(own_place: Path) -> Callable[[str], Path]:
    def run(kind: str) -> Path:
        as_format_1(own_place / "runs" / kind)
        return own_place / "runs" / kind

    return run


@pytest.mark.parametrize("kind", ["text", "item-knn"])
def test_a_run_of_before_is_refused_by_all_that_open_one(kind, of_before, own_place, refusal):
    from vip5.data import Dataset
    from vip5.evaluation.compare import compare
    from vip5.evaluation.opened import open_on_dataset
    from vip5.training import Run, load_config

    run, data = of_before(kind), Dataset(own_place / "dataset")
    for call in (
        lambda: Recommender(run),
        lambda: open_on_dataset(run),
        lambda: compare([run, own_place / "runs/photos"]),
        lambda: Run.new(load_config("prompts", None, [f"model.backbone={run}"]), data),
    ):
        said = refusal(call)
        assert "is a run of format 1" in said and "train it again" in said and str(run) in said


@pytest.mark.parametrize("prompt", [None, "A-3", "B-5"])
def test_every_candidate_of_a_newcomer_is_ranked(prompt, place):
    """item-kNN too, whose lists of next items leave out what is like nothing in the history."""
    shop = Recommender(place / "runs/item-knn")
    items = shop.catalogue.items["item"].to_list()
    assert len(shop.recommend(history=items[:1], n=len(items))) < len(items) - 1
    ranked = shop.rank(items, history=items[:1], prompt=prompt)
    assert sorted(suggestion.item for suggestion in ranked) == sorted(items)
