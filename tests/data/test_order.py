"""Ties: what is drawn, what is dropped, what is counted."""

import tempfile
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vip5.data import Dataset, prepare

from .conftest import files

KEYS = st.sampled_from([(), ("timestamp",), ("position",), ("timestamp", "position")])


@st.composite
def purchases(draw) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Purchases of some users, three or more each, many at the same time; and the columns that they are in order by."""
    users = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
    small = st.integers(0, 3)
    rows = [
        (user, draw(st.sampled_from("wxyz")), draw(small), draw(small), draw(st.none() | st.integers(1, 5)))
        for user in users
        for _ in range(draw(st.integers(3, 7)))
    ]
    schema = {"user": pl.String, "item": pl.String, "timestamp": pl.Int64, "position": pl.Int64, "rating": pl.Float32}
    keys = draw(KEYS)
    table = pl.DataFrame(draw(st.permutations(rows)), schema=schema, orient="row")
    return table.select("user", "item", "rating", *keys), keys


def made(table: pl.DataFrame, **options: object) -> Dataset:
    """A dataset of the table, read; its folder is gone."""
    with tempfile.TemporaryDirectory() as place:
        table.write_parquet(f"{place}/t.parquet")
        dataset = prepare(f"{place}/out", interactions=f"{place}/t.parquet", **options)
        for part in ("users", "items", "interactions"):
            getattr(dataset, part)  # read now
        return dataset


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(purchases(), st.randoms(use_true_random=False), st.integers(0, 3))
def test_the_draw_does_not_know_the_order_of_rows(case: tuple, random, seed: int) -> None:
    """The dataset is the same for rows in any order; where ties are left as in the file it need not be."""
    table, keys = case
    order = list(range(table.height))
    random.shuffle(order)
    one = made(table, seed=seed)
    assert one.hash == made(table, seed=seed).hash
    if keys:
        assert one.hash == made(table[order], seed=seed).hash


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(purchases(), st.sampled_from(["shuffle", "file"]))
def test_only_ties_move_and_they_are_counted_as_by_a_plain_loop(case: tuple, ties: str) -> None:
    table, keys = case
    dataset = made(table, ties=ties)
    ids = dataset.items["item"].to_list()
    tied = tests = repeats = later = 0
    for number, user in enumerate(dataset.users["user"]):
        own = [row for row in table.iter_rows(named=True) if row["user"] == user]
        times = sorted(tuple(row[key] for key in keys) for row in own) if keys else []
        counts = Counter(times)
        tied += sum(counts[time] > 1 for time in times)
        tests += keys != () and times[-1] == times[-2]
        found = [(ids[item], rating) for _, item, rating in dataset.interactions.filter(pl.col("user") == number)
                 .select("user", "item", "rating").iter_rows()]  # fmt: skip
        given = sorted(own, key=lambda row: tuple(row[key] for key in keys))  # stable: as in the file
        expected = [(row["item"], row["rating"]) for row in given]
        if ties == "file" or not keys:
            assert found == expected
        place = 0
        for time in dict.fromkeys(times):  # each group of ties holds the same purchases, in its own place
            group = slice(place, place + counts[time])
            assert Counter(found[group]) == Counter(expected[group])
            place = group.stop
        train = [item for item, _ in found[:-2]]
        later += len(train) - 1
        repeats += sum(item in train[:n] for n, item in enumerate(train))
    manifest = dataset.manifest
    assert (manifest.counts["tied"], manifest.counts["tied_tests"]) == (tied, tests)
    assert manifest.order == ("time" if "timestamp" in keys else "position" if keys else "file")
    assert dataset.tied_share == (tests / dataset.n_users if keys else None)
    assert manifest.repeats_share == pytest.approx(repeats / later if later else 0)
    assert dataset.buys_again == (manifest.repeats_share >= 0.05)


def test_the_draw_is_fair_and_follows_the_seed(tmp_path: Path) -> None:
    """Of three purchases at one time each is the last about as often as another, whatever their ids and places."""
    rows = [(f"u{n}", item, 1) for n in range(600) for item in "abc"]
    table = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    one, other = made(table), made(table, seed=1)
    for dataset in (one, other):
        assert all(150 < count < 250 for count in Counter(dataset.targets("test").tolist()).values())
    assert (one.targets("test") != other.targets("test")).mean() > 0.5


DROP = """user,item,timestamp
a,p,1
a,q,2
a,r,3
a,s,3
b,p,1
b,q,2
b,r,2
b,s,3
c,p,1
c,q,1
c,r,2
c,s,3
d,p,4
d,q,4
d,r,4
"""


def test_drop_by_hand(tmp_path: Path) -> None:
    """a's and d's test purchase ties, so all of theirs is for training; b's validation purchase ties; c has both."""
    notes: list[str] = []
    given = files(tmp_path, interactions=DROP, reviews="user,item,text\na,s,It is what I need.\nb,s,It is good too.\n")
    dataset = prepare(tmp_path / "out", **given, ties="drop", report=notes.append)
    table = dataset.interactions
    parts = [table.filter(pl.col("user") == user)["split"].to_list() for user in range(4)]
    assert parts == [
        ["train"] * 4, ["train"] * 3 + ["test"], ["train", "train", "validation", "test"], ["train"] * 3
    ]  # fmt: skip
    assert dataset.tested("test").tolist() == [1, 2] and dataset.tested("validation").tolist() == [2]
    assert dataset.targets("test").tolist() == [-1, 3, 3, -1] and dataset.targets("validation").tolist() == [
        -1,
        -1,
        2,
        -1,
    ]
    assert [len(row) for row in dataset.history("test")] == [4, 3, 3, 3]
    assert dataset.reviews["split"].to_list() == ["train", "test"]
    assert dataset.manifest.counts["tied"] == 9 and dataset.manifest.counts["tied_tests"] == 2
    assert dataset.tied_share == 0
    assert dataset.order_note == "2 users are not tested, their last purchase carries the same time as the one before"
    assert "9 interactions tie with another one of the same user, 2 test items with the one before: " in notes[0]
    assert notes[0].endswith("their order was drawn (seed 0), and who has such a test item is not tested")


def test_what_is_said_of_the_order(tmp_path: Path) -> None:
    """In the notes of `prepare` and by the dataset, for every kind of order and rule."""
    plain = DROP.replace("3\nb,p", "4\nb,p").replace("d,p,4\nd,q,4\nd,r,4", "d,p,4\nd,q,5\nd,r,6")
    half = "50.0% of the test targets carry the same time as the purchase before; their order"
    cases = [
        (DROP, {}, f"{half} was drawn (seed 0)"),
        (DROP, {"ties": "file"}, f"{half} is the file's"),
        (plain, {}, "no test target carries the same time as the purchase before"),
        (DROP, {"split": "time"}, "no test target carries the same time as the purchase before"),
        (plain.replace("timestamp", "position"), {}, "an order is given, and no times"),
        (DROP.replace("timestamp", "position"), {}, "an order is given, and no times; 50.0% of the test targets carry "
         "the same position as the purchase before; their order was drawn (seed 0)"),
        (DROP.replace("timestamp", "x"), {}, "no times are given; the order is that of the file"),
    ]  # fmt: skip
    for text, options, sentence in cases:
        notes: list[str] = []
        dataset = prepare(
            tmp_path / "out", **files(tmp_path, interactions=text), **options, overwrite=True, report=notes.append
        )
        assert dataset.order_note == sentence
        missing = "timestamp" not in text
        order = "the column position" if "position" in text else "the file"
        assert (f"no time is given: the order is that of {order}" in notes) == missing
        assert any("tie with another one" in note for note in notes) == (dataset.manifest.counts["tied"] > 0)


def test_a_manifest_of_an_older_version(tmp_path: Path) -> None:
    made = prepare(tmp_path / "out", **files(tmp_path, interactions=DROP))
    older = made.manifest.model_dump(exclude={"order", "ties", "repeats_share"})
    older["counts"] = {name: n for name, n in older["counts"].items() if not name.startswith("tied")}
    (tmp_path / "out" / "manifest.json").write_text(
        made.manifest.model_validate(older).model_dump_json(exclude_unset=True)
    )
    opened = Dataset(tmp_path / "out")
    assert (opened.tied_share, opened.buys_again, opened.manifest.order) == (None, False, None)
    assert opened.order_note == "how equal times were put in order is not recorded"
