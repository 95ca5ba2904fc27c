"""From plain files to a dataset folder: what comes out, on made-up shops and on the real data."""

import gzip
import hashlib
import importlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vip5.data import Dataset, hashing, prepare, prepare_amazon
from vip5.data.hashing import content_hash
from vip5.errors import UserError

BUYS = """user,item,timestamp,rating,user_name
u2,i3,5,4,Zoe
u2,i1,3,,
u1,i2,1,5,
u1,i3,1,3,Ann
u1,i1,0,,Anna
u2,i2,5,,
u1,i2,9,,
"""
ITEMS = """item,title,brand,genres,image,paper_id,colour
i3,Three,,A|B,images/three.png,30,red
i1,One,B1,,,10,
i2,Two,,A,,20,
i9,Nine,,,,,
"""
REVIEWS = """user,item,rating,summary,reviewText,user_name
u1,i1,5,fine,It does what I need. More,
u1,i2,1,bad,It broke after a week.,
u2,i2,2,hm,Not quite what was shown.,Zed
u9,i1,2,,Nobody knows this user.,
u1,i3,2,,short,
"""


def files(folder: Path, **texts: str) -> dict[str, Path]:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return {name: folder / f"{name}.csv" for name in texts}


def test_a_small_shop(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "three.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "i2.png")
    notes: list[str] = []
    given = files(tmp_path, interactions=BUYS, items=ITEMS, reviews=REVIEWS)
    dataset = prepare(tmp_path / "shop", **given, images=tmp_path, report=notes.append)
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
    assert notes == [f"1 reviews left out, their user or item is not in the dataset ({given['reviews']})"]
    assert dataset.manifest.counts == {
        "users": 2,
        "items": 4,
        "interactions": 7,
        "repeats": 1,
        "reviews": 4,
        "explanations": 3,
        "candidates": 1,
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
    "no candidates": ({"interactions": BUYS}, "1 lists of 0 candidates: ", {"candidates": 0}),
    "no lists": ({"interactions": BUYS}, "0 lists of 99 candidates: ", {"candidate_lists": 0}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: Path, fault: str) -> None:
    texts, message, options = FAULTS[fault]
    with pytest.raises(UserError, match=message) as caught:
        prepare(tmp_path / "out", **files(tmp_path, **texts), **options)
    assert "\n" not in str(caught.value)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv"] * len(texts)


def test_the_hash_is_of_the_content_alone(tmp_path: Path) -> None:
    given = files(tmp_path, interactions=BUYS, items=ITEMS, reviews=REVIEWS)
    whole = prepare(tmp_path / "one", **given).hash
    os.makedirs(tmp_path / "far" / "away")
    parquet = {}
    for name, path in given.items():
        parquet[name] = tmp_path / "far" / f"{name}.parquet"
        pl.read_csv(path).write_parquet(parquet[name])
    assert prepare(tmp_path / "far" / "away" / "two", **parquet, name="other").hash == whole
    for change in ({"seed": 1, "review_split": "random"}, {"k_core": 1}):
        assert prepare(tmp_path / "three", **given, **change, overwrite=True).hash != whole
    given |= files(tmp_path, reviews=REVIEWS.replace("a week", "a year"))
    assert prepare(tmp_path / "four", **given).hash != whole


ROWS = st.lists(
    st.tuples(
        st.none() | st.text(max_size=3),
        st.none() | st.lists(st.none() | st.text(max_size=2), max_size=2),
        st.none() | st.integers(0, 3),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=100)
@given(ROWS, ROWS)
def test_hashes_are_equal_where_tables_are(one: list[tuple], two: list[tuple]) -> None:
    schema = {"text": pl.String, "list": pl.List(pl.String), "number": pl.Int32}
    tables = [pl.DataFrame(rows, schema=schema, orient="row") for rows in (one, two)]
    a, b = (content_hash({"t": table}) for table in tables)
    assert (a == b) == (one == two)
    assert content_hash({"t": tables[0].rechunk().vstack(tables[1]).head(len(one))}) == a


def hash_at_once(tables: dict[str, pl.DataFrame]) -> str:
    """As the folders that are there already were hashed, whole columns at a time."""
    digest = hashlib.sha256()

    def add(values: pl.Series) -> None:
        digest.update(np.packbits(values.is_null().to_numpy()).tobytes())
        if values.dtype == pl.List:
            digest.update(values.list.len().fill_null(0).cast(pl.Int64).to_numpy().tobytes())
            add(values.filter(values.list.len() > 0).explode())
        elif values.dtype in (pl.String, pl.Enum):
            texts = [(text or "").encode() for text in values.cast(pl.String)]
            digest.update(np.array([len(text) for text in texts], dtype="<i8").tobytes() + b"".join(texts))
        else:
            numbers = [number or 0 for number in values]
            digest.update(np.array(numbers, dtype="<f8" if values.dtype.is_float() else "<i8").tobytes())

    for table, frame in sorted(tables.items()):
        for column in frame:
            digest.update(f"{table}.{column.name} {frame.height}\n".encode())
            add(column)
    return digest.hexdigest()


@settings(deadline=None, max_examples=100)
@given(ROWS.map(lambda rows: rows * 7), st.sampled_from([8, 16, 2**20]))
def test_the_hash_in_blocks_is_that_of_whole_columns(rows: list[tuple], at_once: int) -> None:
    schema = {"text": pl.String, "list": pl.List(pl.String), "number": pl.Int32}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    splits = pl.Series(["train", None, "test"] * table.height, dtype=pl.Enum(["train", "test"])).head(table.height)
    table = table.with_columns(pl.col("number").cast(pl.Float32).sqrt().alias("root"), splits.alias("split"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_ROWS", at_once)
        assert content_hash({"b": table, "a": table.head(9)}) == hash_at_once({"b": table, "a": table.head(9)})


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
        made = prepare(folder / "out", **given, k_core=1 if core else None)
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


@pytest.mark.parametrize("options", [{}, {"candidates_by": "popularity", "candidate_lists": 3}, {"k_core": 2}])
def test_the_size_of_blocks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    rng = np.random.default_rng(0)
    rows = [f"u{u},i{i},{t}" for u in range(90) for i, t in zip(*rng.integers(70, size=(2, 3 + u % 9)), strict=True)]
    rng.shuffle(rows)
    given = files(tmp_path, interactions="\n".join(["user,item,ts", *rows]), reviews=REVIEWS.replace("u1,i", "u80,i"))
    usual = prepare(tmp_path / "usual", **given, **options)
    for name, value in (
        ("candidates._CELLS", 40),
        ("candidates._ROWS", 9),
        ("hashing._ROWS", 8),
        ("ragged._AT_ONCE", 4),
    ):
        monkeypatch.setattr(f"vip5.data.{name}", value)
    small = prepare(tmp_path / "small", **given, **options)
    for table in ("users", "items", "interactions", "reviews", "candidates"):
        one, other = (pl.read_parquet(made.path / f"{table}.parquet") for made in (usual, small))
        assert one.equals(other) and one.schema == other.schema
    same = {"hash", "candidates_hash", "counts"}
    assert small.manifest.model_dump(include=same) == usual.manifest.model_dump(include=same)


@pytest.mark.parametrize("at", ["draw_negatives", "store_lists", "add_tables", "repeats"])
def test_what_fails_on_the_way_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    given = files(tmp_path, interactions=BUYS, items=ITEMS)
    made = prepare(tmp_path / "out", **given)
    module = importlib.import_module("vip5.data.prepare")
    real, calls = getattr(module, at), []

    def failing(*args: object) -> object:
        calls.append(len(list((tmp_path / ".out.partial").iterdir())))
        if at != "draw_negatives" or len(calls) == 2:  # of the second list, when the first has been written
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr(module, at, failing)
    with pytest.raises(UserError, match=r"cannot write .*out \(No space left on device\): "):
        prepare(tmp_path / "out", **given, seed=1, candidate_lists=2, overwrite=True)
    assert calls and calls[-1] >= 4  # tables had been written
    assert Dataset(tmp_path / "out").manifest == made.manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interactions.csv", "items.csv", "out"]


def test_who_waits_is_shown_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    given = files(tmp_path, interactions=BUYS)
    prepare(tmp_path / "file", **given, progress=True)
    assert capsys.readouterr() == ("", "")  # no terminal
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for one
    prepare(tmp_path / "silent", **given)
    assert capsys.readouterr() == ("", "")
    prepare(tmp_path / "shown", **given, progress=True)
    out, err = capsys.readouterr()
    stages = ["reading interactions.csv", "checking interactions", "sorting interactions", "writing interactions"]
    assert not out and all(name in err for name in [*stages, "drawing candidates", "hashing"])


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
    dataset = prepare_amazon(tmp_path / "out", **given)
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


def test_beauty_is_the_papers(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "amazon2014" / "beauty"
    given = {name: source / f"{name}.parquet" for name in ("interactions", "items")}
    dataset = prepare(tmp_path / "beauty", **given)
    counts = dataset.manifest.counts
    assert (
        dataset.hash == "b0598d0cc8304663e4cf7f922c086a82bd50beea2456a1623f86e6e77002272a"
    )  # of all published results
    assert (counts["users"], counts["items"], counts["interactions"]) == (22_363, 12_101, 198_502)
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


def test_ml_1m_keeps_the_files_order_of_equal_times(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "ml-1m" / "interactions.parquet"
    dataset = prepare(tmp_path / "ml", interactions=source)
    raw = pl.read_parquet(source)
    user = raw.filter(pl.col("user") == "1")
    expected = [item for _, _, item in sorted(zip(user["timestamp"], range(user.height), user["item"], strict=True))]
    assert dataset.items["item"].gather(dataset.sequences[dataset.user_index("1")]).to_list() == expected
    assert user["timestamp"].n_unique() < user.height


def test_a_dataset_opens_as_prepared(tmp_path: Path) -> None:
    made = prepare(tmp_path / "out", **files(tmp_path, interactions=BUYS))
    opened = Dataset(tmp_path / "out")
    tables = ("users", "items", "interactions", "reviews", "candidates")
    read = {name: pl.read_parquet(tmp_path / "out" / f"{name}.parquet") for name in tables}
    assert opened.manifest == made.manifest and opened.hash == content_hash(read)
