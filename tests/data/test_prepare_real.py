"""The real data, prepared."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vip5.data import prepare, prepare_amazon


def test_beauty_is_the_papers(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "amazon2014" / "beauty"
    given = {name: source / f"{name}.parquet" for name in ("interactions", "items")}
    dataset = prepare(tmp_path / "beauty", **given)
    counts = dataset.manifest.counts
    assert (
        dataset.hash == "b0598d0cc8304663e4cf7f922c086a82bd50beea2456a1623f86e6e77002272a"
    )  # of all published results
    assert (counts["users"], counts["items"], counts["interactions"]) == (22_363, 12_101, 198_502)
    assert dataset.tied_share == 0 and dataset.order_note == "an order is given, and no times"
    raw = pl.read_parquet(given["interactions"]).sort("user", "position", maintain_order=True)
    last = raw.group_by("user").agg(pl.col("item").last()).sort("user")
    assert dataset.users["user"].equals(last["user"])
    assert dataset.items["item"].gather(dataset.targets("test")).equals(last["item"], null_equal=False)
    assert dataset.items["item"].gather(dataset.sequences.values).to_list() == raw["item"].to_list()
    assert sorted(dataset.items["paper_id"]) == list(range(1, 12_102))
    assert dataset.candidates.shape == (1, 22_363, 99)
    own = {(user, item) for user, item in dataset.interactions.select("user", "item").iter_rows()}
    drawn = zip(np.repeat(np.arange(22_363), 99).tolist(), dataset.candidates.ravel().tolist(), strict=True)
    assert own.isdisjoint(drawn)


def test_musical_instruments_as_released(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "amazon2014" / "musical_instruments"
    given = {"reviews": source / "reviews_Musical_Instruments_5.json.gz"}
    dataset = prepare_amazon(tmp_path / "one", **given)
    counts = dataset.manifest.counts
    assert (counts["users"], counts["items"], counts["reviews"]) == (1_429, 900, 10_261)
    assert counts["explanations"] > 10_000
    held_out = dataset.reviews.filter(pl.col("split") != "train").select("user", "split").unique().height
    assert held_out == 2 * 1_429
    paper = prepare_amazon(
        tmp_path / "two", **given, explanations=source / "explanations.parquet", review_split="random"
    )
    told = paper.reviews.drop_nulls("explanation")
    sizes = dict(told["split"].value_counts().iter_rows())
    assert sizes["validation"] == sizes["test"] == round(told.height / 10)
    assert told["feature"].null_count() == 0


def test_the_five_core_of_hm(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "hm"
    given = {name: source / f"{name}.parquet" for name in ("interactions", "items")}
    dataset = prepare(tmp_path / "hm", **given, images=source / "images", k_core=5)
    counts = dataset.manifest.counts
    assert (counts["users"], counts["items"], counts["interactions"]) == (609, 1_098, 10_598)
    assert counts["photos"] == sum(dataset.photo_path(item) is not None for item in range(dataset.n_items)) > 1_090


def test_ml_1m_in_the_files_order_of_equal_times(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "ml-1m" / "interactions.parquet"
    dataset = prepare(tmp_path / "ml", interactions=source, ties="file")
    raw = pl.read_parquet(source)
    user = raw.filter(pl.col("user") == "1")
    expected = [item for _, _, item in sorted(zip(user["timestamp"], range(user.height), user["item"], strict=True))]
    assert dataset.items["item"].gather(dataset.sequences[dataset.user_index("1")]).to_list() == expected
    assert user["timestamp"].n_unique() < user.height
    assert dataset.tied_share == pytest.approx(0.42, abs=0.01)
