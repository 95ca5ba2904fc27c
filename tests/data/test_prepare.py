"""From plain files to a dataset folder: what comes out, on made-up shops and on the real data."""

import gzip
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vip5.data import Dataset, prepare, prepare_amazon
from vip5.errors import UserError

from .conftest import BUYS, ITEMS, REVIEWS, files


@pytest.mark.parametrize("split", ["leave-one-out", "time"])
@pytest.mark.parametrize("buys", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("told", [1, 10**3, 10**6, 10**9])
def test_a_later_review_is_held_out_whatever_the_units(tmp_path: Path, split: str, buys: int, told: int) -> None:
    """Interactions and reviews each in seconds or parts of them: a review of something else, three days after the last
    purchase, is for the test."""
    start, day = 1_600_000_000, 86_400
    rows = [f"u{u},p{n},{(start + n * day) * buys}\n" for u in range(4) for n in range(5)]
    late = [f"u{u},p9,later I liked this one,{(start + 7 * day) * told}\n" for u in range(4)]
    early = [f"u{u},p9,early I liked this one,{(start - day) * told}\n" for u in range(4)]
    given = files(
        tmp_path,
        interactions="user,item,timestamp\n" + "".join([*rows, f"z,p9,{start * buys}\n" * 3]),
        reviews="user,item,text,timestamp\n" + "".join(late + early),
    )
    reviews = prepare(tmp_path / "out", **given, split=split).reviews
    assert set(reviews.filter(pl.col("text").str.starts_with("later"))["split"]) == {"test"}
    assert set(reviews.filter(pl.col("text").str.starts_with("early"))["split"]) == {"train"}


def test_a_small_shop(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "three.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "i2.png")
    notes: list[str] = []
    given = files(tmp_path, interactions=BUYS, items=ITEMS, reviews=REVIEWS)
    dataset = prepare(tmp_path / "shop", **given, images=tmp_path, ties="file", report=notes.append)
    assert dataset.users.rows() == [("u1", "Ann"), ("u2", "Zoe")]
    assert dataset.items.rows() == [
        ("i1", "One", "B1", [], None, None, 10),
        ("i2", "Two", None, ["A"], None, "i2.png", 20),
        ("i3", "Three", None, ["A", "B"], None, "three.png", 30),
        ("i9", "Nine", None, [], None, None, None),
    ]
    # by time; the equal times 1 and 1 of u1, and 5 and 5 of u2, as in the file
    assert [row.tolist() for row in dataset.sequences] == [[0, 1, 2, 1], [0, 2, 1]]
    assert dataset.interactions.rows() == [
        (0, 0, 0, 0, None, "train"),
        (0, 1, 1, 1, 5.0, "train"),
        (0, 2, 2, 1, 3.0, "validation"),
        (0, 1, 3, 9, None, "test"),
        (1, 0, 0, 3, None, "train"),
        (1, 2, 1, 5, 4.0, "validation"),
        (1, 1, 2, 5, None, "test"),
    ]
    assert dataset.reviews.select("user", "item", "rating", "headline", "explanation", "split").rows() == [
        (0, 0, 5.0, "fine", "It does what I need.", "train"),
        (0, 1, 1.0, "bad", "It broke after a week.", "test"),  # bought before too, but held out
        (0, 2, 2.0, None, None, "validation"),
        (1, 1, 2.0, "hm", "Not quite what was shown.", "test"),
    ]
    assert notes == [
        f"not used: colour ({given['items']}); map what is needed with --map THEIRS=OURS",
        "no photo of i1 (no file is named so)",
        "no photo of i9 (no file is named so)",
        f"1 reviews left out, their user or item is not in the dataset ({given['reviews']})",
        "4 interactions tie with another one of the same user, 1 test items with the one before: "
        "their order is the file's",
        "3 of 4 reviews give an explanation; the others have no text of 3 words or more",
        "each list has 1 candidates and not 99: somebody leaves no more items to draw",
    ]
    assert dataset.manifest.counts == {
        "users": 2,
        "items": 4,
        "interactions": 7,
        "repeats": 1,
        "reviews": 4,
        "explanations": 3,
        "candidates": 1,
        "tied": 4,
        "tied_tests": 1,
        "photos": 2,
        "photos_missing": 2,
        "photos_broken": 0,
        "photos_escaping": 0,
    }
    manifest = dataset.manifest
    assert (manifest.name, manifest.protocol, manifest.k_core, manifest.seed) == ("shop", "clean", None, 0)
    assert manifest.inputs["items"].sha256 == hashlib.sha256(given["items"].read_bytes()).hexdigest()
    assert manifest.inputs["items"].bytes == len(ITEMS) and manifest.inputs["images"].files == 2
    assert dataset.candidates.tolist() == [[[3], [3]]]


def test_position_orders_and_breaks_ties_of_time(tmp_path: Path) -> None:
    text = "user,item,position,timestamp\nu,a,3,0\nu,b,1,0\nu,c,2,0\nu,d,0,7\n"
    dataset = prepare(tmp_path / "out", **files(tmp_path, interactions=text))
    assert dataset.items["item"].gather(dataset.sequences[0]).to_list() == ["b", "c", "a", "d"]


def test_without_time_the_file_orders_and_items_come_from_the_interactions(tmp_path: Path) -> None:
    dataset = prepare(
        tmp_path / "out", **files(tmp_path, interactions="user,item\nu,b\nv,c\nu,c\nv,a\nu,a\nv,b\nu,b\n")
    )
    assert dataset.items["item"].to_list() == ["a", "b", "c"]
    assert [row.tolist() for row in dataset.sequences] == [[1, 2, 0, 1], [2, 0, 1]]
    assert dataset.items["categories"].to_list() == [[], [], []] and dataset.items["title"].null_count() == 3
    assert dataset.reviews.height == 0 and dataset.reviews.columns[0] == "user"
    assert dataset.interactions["timestamp"].null_count() == 7


LATER = "user,item,timestamp\nann,a,1\nann,b,2\nann,c,8\nann,d,9\nbob,b,8\nbob,a,3\ncid,c,9\ndan,a,4\neve,b,5\n"


def test_held_out_from_one_point_in_time_on(tmp_path: Path) -> None:
    """Nine purchases: two of time 9 for the test, two of time 8 for validation; users lack one part or another."""
    reviews = "user,item,timestamp,explanation\nann,c,9,So it is\ndan,d,9,Far too late\neve,b,6,It may stay\n"
    given = files(tmp_path, interactions=LATER, reviews=reviews)
    dataset = prepare(tmp_path / "out", **given, split="time", holdout=0.2)
    manifest = dataset.manifest
    assert (manifest.split, manifest.holdout, manifest.split_times) == ("time", 0.2, (8, 9))
    assert dataset.interactions["split"].to_list() == [
        *("train", "train", "validation", "test"), *("train", "validation"), "test", "train", "train"
    ]  # fmt: skip
    assert dataset.reviews["split"].to_list() == ["validation", "test", "train"]
    assert dataset.targets("validation").tolist() == [2, 1, -1, -1, -1]
    assert dataset.targets("test").tolist() == [3, -1, -1, -1, -1]  # nothing is known of cid
    assert [row.tolist() for row in dataset.history("test")] == [[0, 1, 2], [0, 1], [], [0], [1]]
    assert dataset.candidates.shape == (1, 5, 0)  # ann leaves nothing
    assert dataset.hash != prepare(tmp_path / "half", **given, split="time", holdout=0.4).hash
    usual = prepare(tmp_path / "usual", interactions=given["interactions"], split="time").manifest
    assert usual.holdout == 0.1 and usual.split_times == (8, 9)
    assert Dataset(tmp_path / "usual").manifest == usual


def test_leave_one_out_says_so(tmp_path: Path) -> None:
    manifest = prepare(tmp_path / "out", **files(tmp_path, interactions=BUYS)).manifest
    assert (manifest.split, manifest.holdout, manifest.split_times) == ("leave-one-out", None, None)
    assert (manifest.review_split, manifest.protocol) == ("by-time", "clean")


def test_the_protocol_follows_from_the_review_split(tmp_path: Path) -> None:
    given = files(tmp_path, interactions=BUYS, reviews=REVIEWS)
    for review_split, protocol in (("by-time", "clean"), ("by-pair", "clean"), ("random", "paper")):
        manifest = prepare(tmp_path / review_split, **given, review_split=review_split).manifest
        assert (manifest.review_split, manifest.protocol) == (review_split, protocol)


def test_candidates_in_several_lists(tmp_path: Path) -> None:
    """Those of popularity have been bought in the training part; the first list is what it is alone."""
    text = "user,item\n" + "".join(f"u{u},i{(u + n * n) % 40}\n" for u in range(30) for n in range(6))
    given = files(tmp_path, interactions=text, items="item\n" + "".join(f"i{n}\n" for n in range(60)))
    for by in ("uniform", "popularity"):
        one = prepare(tmp_path / f"{by}-1", **given, candidates=10, candidates_by=by)
        three = prepare(tmp_path / f"{by}-3", **given, candidates=10, candidates_by=by, candidate_lists=3)
        assert one.candidates.shape == (1, 30, 10) and three.candidates.shape == (3, 30, 10)
        assert (one.candidates[0] == three.candidates[0]).all()
        assert len({lists.tobytes() for lists in three.candidates}) == 3
        assert pl.read_parquet(one.path / "candidates.parquet").columns == ["user", "item"]
        assert pl.read_parquet(three.path / "candidates.parquet").columns == ["list", "user", "item"]
        assert (three.manifest.candidates_by, three.manifest.candidate_lists) == (by, 3)
        assert three.candidates_hash == three.manifest.candidates_hash != one.candidates_hash
        assert one.hash != three.hash
        for lists in three.candidates:
            for own, drawn in zip(three.sequences, lists, strict=True):
                assert len(set(drawn.tolist())) == 10 and not set(drawn.tolist()) & set(own.tolist())
        never_bought = ~np.isin(three.candidates, three.history("train").values)
        assert never_bought.any() == (by == "uniform")


def test_reviews_without_any_time_go_with_interactions_that_have_one(tmp_path: Path) -> None:
    dated = "user,item,ts\na,x,2014-02-26\na,y,2014-02-27\na,z,2014-02-28\n"
    given = files(tmp_path, interactions=dated, reviews="user,item,ts,text\na,z,,It is all I need.\n")
    assert prepare(tmp_path / "out", **given).reviews["split"].to_list() == ["test"]


def test_reviews_stand_for_interactions(tmp_path: Path) -> None:
    rows = "c,m1,3,It is a good one.,4\nc,m2,1,It is bad.,1\nc,m3,2,So it goes.,2\nc,m3,2,Again.,2\n"
    text = f"critic,movie_id,ts,text,stars\n{rows}"
    dataset = prepare(tmp_path / "out", **files(tmp_path, reviews=text))
    assert dataset.interactions.select("item", "timestamp", "rating").rows() == [(1, 1, 1.0), (2, 2, 2.0), (0, 3, 4.0)]
    assert dataset.reviews.height == 4
    with pytest.raises(UserError, match="no interactions: give --interactions, or --reviews"):
        prepare(tmp_path / "none", **files(tmp_path, items="item\na\n"))


def test_k_core_leaves_weak_users_and_items_out(tmp_path: Path) -> None:
    text = "user,item\n" + "".join(f"{u},{i}\n" for u in "abc" for i in "xyz") + "a,w\nd,x\nd,w\n"
    given = files(tmp_path, interactions=text, items="item\nw\nx\ny\nz\nq\n")
    dataset = prepare(tmp_path / "out", **given, k_core=3)
    assert (dataset.users["user"].to_list(), dataset.items["item"].to_list()) == (list("abc"), list("xyz"))
    assert dataset.manifest.k_core == 3 and dataset.manifest.counts["interactions"] == 9
    with pytest.raises(UserError, match=r"nothing is left of the 4-core .*smaller --k-core"):
        prepare(tmp_path / "four", **given, k_core=4)


FAULTS: dict[str, tuple[dict[str, str], str, dict[str, object]]] = {
    "short": (
        {"interactions": "user,item\na,x\na,y\na,z\nb,x\nb,y\n"},
        r"user 'b' has 2 of the 3 interactions it takes \(.*interactions.csv, row 5\): .*--k-core 3",
        {},
    ),
    "unknown": (
        {"interactions": "user,item\na,x\na,y\na,?\na,?\n", "items": "item\nx\ny\n"},
        r"unknown item '\?' \(.*interactions.csv, row 4, and 1 more\): add it to .*items.csv",
        {},
    ),
    "twice": (
        {"interactions": "user,item\na,x\n", "items": "item\nx\ny\nx\n"},
        r"item 'x' stands there twice \(.*items.csv, row 4\)",
        {},
    ),
    "no time": ({"interactions": "user,item,ts\na,x,1\na,x,\n"}, r"no timestamp \(.*row 3\)", {}),
    "map": (
        {"interactions": "user,item\na,x\n"},
        r"--map who=…: no table has a column 'who' \(.*interactions.csv has user, item\)",
        {"mapping": {"who": "user"}},
    ),
    "explanations": (
        {"interactions": "user,item\na,x\n", "explanations": "user,item,explanation\na,x,y\n"},
        r"explanations without reviews",
        {},
    ),
    "no time to split by": (
        {"interactions": "user,item\na,x\n"},
        r"no timestamps to split by \(.*interactions.csv\): name their column with --map THEIRS=timestamp",
        {"split": "time"},
    ),
    "one time": (
        {"interactions": "user,item,ts\na,x,1\na,y,1\na,z,1\n"},
        r"1 different timestamps, where a split by time takes 3 \(.*interactions.csv\)",
        {"split": "time"},
    ),
    "holdout alone": ({"interactions": BUYS}, "--holdout without --split time: ", {"holdout": 0.1}),
    "all held out": (
        {"interactions": BUYS},
        "--holdout 0.5 leaves no three parts: ",
        {"split": "time", "holdout": 0.5},
    ),
    "no candidates": (
        {"interactions": BUYS},
        "candidates=0 does not fit: input should be greater than or equal to 1",
        {"candidates": 0},
    ),
    "unknown option": (
        {"interactions": BUYS},
        r"unknown option 'kcore': the options are images, k_core, ",
        {"kcore": 5},
    ),
    "unknown rule": (
        {"interactions": BUYS},
        r"ties='keep' does not fit: input should be 'shuffle', ",
        {"ties": "keep"},
    ),
    "drop by time": ({"interactions": BUYS}, r"--ties drop with --split time: ", {"ties": "drop", "split": "time"}),
    "nobody left": (
        {"interactions": "user,item,ts\na,x,1\na,y,2\na,z,2\n"},
        r"every user's last interaction ties with the one before \(.*interactions.csv\): --ties drop leaves nobody",
        {"ties": "drop"},
    ),
    "two clocks": (
        {"interactions": BUYS, "reviews": "user,item,ts,text\nu1,i1,2014-02-28,So it is good.\n"},
        r"timestamps are plain numbers in .*interactions.csv and real times in .*reviews.csv, .*--review-split by-pair",
        {},
    ),
    "encoding": (
        {"interactions": BUYS},
        "unknown encoding 'latin-99': give one that Python knows",
        {"encoding": "latin-99"},
    ),
    "no encoding": ({"interactions": BUYS}, "unknown encoding 'base64': ", {"encoding": "base64"}),
    "no lists": (
        {"interactions": BUYS},
        "candidate_lists=0 does not fit: input should be greater",
        {"candidate_lists": 0},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: Path, fault: str) -> None:
    texts, message, options = FAULTS[fault]
    with pytest.raises(UserError, match=message) as caught:
        prepare(tmp_path / "out", **files(tmp_path, **texts), **options)
    assert "\n" not in str(caught.value)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv"] * len(texts)


@st.composite
def purchases(draw) -> tuple[list[tuple], list[str], bool]:
    """Users with three purchases or more in any order: user, item, timestamp, position; what the items are; k-core."""
    users = draw(st.lists(st.sampled_from(["b", "a", "ä", "B", "10", "9"]), min_size=1, max_size=4, unique=True))
    items = draw(st.lists(st.text("xyzé", min_size=1, max_size=3), min_size=3, max_size=6, unique=True))
    rows = [
        (user, item, draw(st.integers(0, 3)), draw(st.integers(0, 2)))
        for user in users
        for item in draw(st.lists(st.sampled_from(items), min_size=3, max_size=6))
    ]
    return draw(st.permutations(rows)), items, draw(st.booleans())


@settings(deadline=None, max_examples=30)
@given(purchases(), st.booleans())
def test_sequences_and_splits_as_by_a_plain_loop(case: tuple[list[tuple], list[str], bool], catalogue: bool) -> None:
    rows, items, core = case
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pl.DataFrame(rows, schema=["user", "item", "timestamp", "position"], orient="row").write_parquet(
            folder / "buys.parquet"
        )
        pl.DataFrame({"item": items}).write_csv(folder / "items.csv")
        given = {"interactions": folder / "buys.parquet"} | ({"items": folder / "items.csv"} if catalogue else {})
        made = prepare(folder / "out", **given, k_core=1 if core else None, ties="file")
        numbers, table, users = made.items["item"].to_list(), made.interactions, made.users["user"].to_list()
    taken = {item for _, item, *_ in rows}
    assert numbers == sorted(items if catalogue and not core else taken, key=str.encode)
    assert users == sorted({user for user, *_ in rows}, key=str.encode)
    expected = []
    for number, user in enumerate(users):
        own = sorted((row for row in rows if row[0] == user), key=lambda row: row[2:])
        parts = ["train"] * (len(own) - 2) + ["validation", "test"]
        for place, ((_, item, time, _), part) in enumerate(zip(own, parts, strict=True)):
            expected.append((number, numbers.index(item), place, time, None, part))
    assert table.rows() == expected
    assert made.manifest.counts["repeats"] == len(rows) - len({row[:2] for row in rows})


def test_amazon(tmp_path: Path) -> None:
    lines = [
        {
            "reviewerID": user,
            "asin": f"B{n}",
            "overall": 4.0,
            "reviewText": f"I use number {n} daily. x",
            "unixReviewTime": time,
            "reviewerName": user.lower(),
        }
        for user in ("A2", "A1")
        for n, time in ((1, 9), (2, 3), (3, 3))
    ]
    (tmp_path / "r.json.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    meta = {"asin": "B2", "title": "It's", "imUrl": "http://e.test/I/p%27.jpg", "categories": [["A", "B"], ["A"]]}
    (tmp_path / "m.json.gz").write_bytes(gzip.compress(f"{meta!r}\n{{'asin': 'X'}}".encode()))
    (tmp_path / "images").mkdir()
    for name in ("B1.jpg", "p%27.jpg"):
        Image.new("RGB", (9, 9)).save(tmp_path / "images" / name)
    (tmp_path / "e.csv").write_text("user,item,feature,explanation\nA1,B1,use,it is of use\n")
    given = {"reviews": tmp_path / "r.json.gz", "meta": tmp_path / "m.json.gz", "images": tmp_path / "images"}
    dataset = prepare_amazon(tmp_path / "out", **given, ties="file")
    assert dataset.users.rows() == [("A1", "a1"), ("A2", "a2")]
    assert dataset.items.select("item", "title", "categories", "image").rows() == [
        ("B1", None, [], "B1.jpg"),
        ("B2", "It's", ["A", "B"], "p%27.jpg"),
        ("B3", None, [], None),
    ]
    assert [row.tolist() for row in dataset.sequences] == [[1, 2, 0]] * 2
    assert dataset.reviews["explanation"][0] == "I use number 1 daily."
    told = prepare_amazon(tmp_path / "told", **given, explanations=tmp_path / "e.csv")
    assert told.reviews.drop_nulls("explanation").select("user", "item", "feature", "explanation", "split").rows() == [
        (0, 0, "use", "it is of use", "test")
    ]
    assert set(told.manifest.inputs) == {"reviews", "items", "explanations", "images"}
