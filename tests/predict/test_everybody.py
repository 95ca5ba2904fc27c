"""Recommendations for everybody: the same as asked one by one, in a file that is whole or not there."""

import shutil

import polars as pl
import pytest

from vip5.predict import Recommender
from vip5.predict import everybody as module
from vip5.predict.everybody import recommend_all


@pytest.mark.parametrize("again", [None, True, False])
@pytest.mark.parametrize("kind", ["photos", "text", "item-knn"])
def test_it_is_what_each_is_told_alone(kind, again, place, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PEOPLE", 7)
    shop = Recommender(place / "runs" / kind)
    assert shop.people is not None
    done = recommend_all(shop, tmp_path / "recs.parquet", n=4, allow_again=again)
    table = pl.read_parquet(tmp_path / "recs.parquet")
    assert done == {"people": 30, "without_history": 0} and table.columns == ["user", "rank", "item", "probability"]
    assert set(table["user"]) == set(shop.people.users)
    for (user,), rows in table.group_by("user"):
        alone = shop.recommend(str(user), n=4, allow_again=again)
        assert rows["rank"].to_list() == [*range(1, len(alone) + 1)]
        assert rows["item"].to_list() == [one.item for one in alone]
        for found, one in zip(rows["probability"], alone, strict=True):
            assert found is None if one.probability is None else found == pytest.approx(one.probability, rel=1e-4)


def test_of_a_newer_shop(own_place, grow, tmp_path):
    """Newcomers are answered; new items, which the run does not know, do not come out."""
    data = grow()
    shop = Recommender(own_place / "runs/text")
    recommend_all(shop, tmp_path / "recs.parquet", n=3)
    table = pl.read_parquet(tmp_path / "recs.parquet")
    assert set(table["user"]) == set(data.users["user"]) and set(table["item"]) <= set(shop.catalogue.items["item"])


@pytest.mark.parametrize("there", [False, True])
def test_killed_half_way_nothing_is_left(there, place, tmp_path, monkeypatch):
    """And what stood there stays."""
    monkeypatch.setattr(module, "_PEOPLE", 7)
    answers, left = module._answers, iter([1, 1])

    def killed(*arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return answers(*arguments)

    monkeypatch.setattr(module, "_answers", killed)
    if there:
        (tmp_path / "recs.parquet").write_bytes(b"of yesterday")
    with pytest.raises(KeyboardInterrupt):
        recommend_all(Recommender(place / "runs/text"), tmp_path / "recs.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["recs.parquet"] * there
    assert not there or (tmp_path / "recs.parquet").read_bytes() == b"of yesterday"


def test_without_a_data_set_nobody_is_known(own_place, tmp_path, refusal):
    moved = own_place / "moved"
    shutil.move(own_place / "dataset", moved)
    said = refusal(recommend_all, Recommender(own_place / "runs/item-knn"), tmp_path / "recs.parquet")
    assert "no dataset folder is at hand" in said and "--dataset" in said
    assert recommend_all(Recommender(own_place / "runs/item-knn", moved), tmp_path / "recs.parquet")["people"] == 30
