"""The 2014 release as published: JSON lines, and Python literals read without evaluating anything."""

import ast
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vip5.data.amazon import literal, read_meta, read_reviews
from vip5.errors import UserError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3), max_leaves=8
)
META = """\
{'asin': 'B1', 'related': {'also_bought': ['B2', 'B9'], 'buy_after_viewing': []}, \
'title': "Men's \\"best\\" Oil &amp; Wax", \
'price': 3.5, 'salesRank': {'Beauty': 7}, 'imUrl': 'http://ecx.test/images/I/51+x%2B.jpg', 'brand': 'None', \
'categories': [['Beauty', 'Hair &amp; Care'], ['Beauty', 'Men']]}
{'asin': 'B7', this line is of no item that was reviewed}
{'categories': [['Beauty']], 'description': 'It\\'s caf\\xe9.\\nNew', 'asin': 'B2'}
{"asin": "B3", "title": "JSON \\/ line", "categories": [["Beauty"]]}
{'asin': 'B1', 'title': 'second of B1'}
"""


def pack(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def review(**values: object) -> str:
    return (
        json.dumps({"reviewerID": "A1", "asin": "B1", "helpful": [0, 1], "reviewTime": "02 28, 2014", **values}) + "\n"
    )


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_a_literal_is_what_python_wrote(value: dict) -> None:
    assert literal(repr(value)) == value
    assert literal(json.dumps(value)) == value


@pytest.mark.parametrize(
    "line",
    [
        "{'a': u'x', 'b': r'\\d', 'c': ('t', 1), 'd': 'p' 'q', 'e': 1_000, 'None': None}",
        "{'a': \"it's\", 'b': 'say \"x\"', 'c': '\\x41\\u00e9\\\\n', 'd': True, 'e': 'tab\there'}",
        "{'a': 'None and True', 'b': \"None\", 'c': -1.5e-3}",
    ],
)
def test_a_literal_is_what_literal_eval_says(line: str) -> None:
    assert literal(line) == ast.literal_eval(line)


@pytest.mark.parametrize(
    "line", ["__import__('os').getcwd()", "{'a': print(1)}", "{'a': ", "[" * 100_000, "{1: {}}[1]", "\0"]
)
def test_nothing_else_is_a_literal(line: str) -> None:
    with pytest.raises(ValueError):
        literal(line)


def test_metadata(tmp_path: Path) -> None:
    table = read_meta(pack(tmp_path / "meta_Beauty.json.gz", META), {"B1", "B2", "B3", "B4"})
    assert table.frame.to_dicts() == [
        {
            "row": 1,
            "item": "B1",
            "title": 'Men\'s "best" Oil & Wax',
            "brand": "None",
            "description": None,
            "image": "51+x%2B.jpg",
            "categories": ["Beauty", "Hair & Care", "Men"],
        },
        {
            "row": 3,
            "item": "B2",
            "title": None,
            "brand": None,
            "description": "It's café.\nNew",
            "image": None,
            "categories": ["Beauty"],
        },
        {
            "row": 4,
            "item": "B3",
            "title": "JSON / line",
            "brand": None,
            "description": None,
            "image": None,
            "categories": ["Beauty"],
        },
    ]


def test_metadata_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "meta.json.gz"
    with pytest.raises(UserError, match=r"not an object .*meta.json.gz, line 2: .*remove the line"):
        read_meta(pack(path, META), {"B1", "B7"})
    with pytest.raises(UserError, match=r"describes none of the 1 reviewed items"):
        read_meta(pack(path, META), {"Z"})
    with pytest.raises(UserError, match=r"not an object .*line 1: it is a list"):
        read_meta(pack(path, "['asin']\n"), {"Z"})


def test_reviews(tmp_path: Path) -> None:
    lines = review(
        overall=5.0, summary="Good &amp; well", reviewText="It &#34;works&#34;.", unixReviewTime=9, reviewerName="Jo"
    )
    table = read_reviews(
        pack(tmp_path / "reviews_X_5.json.gz", lines + review(overall=4, unixReviewTime=7, reviewerID="0A"))
    )
    assert table.frame.drop("row").to_dicts() == [
        {
            "user": "A1",
            "item": "B1",
            "rating": 5.0,
            "headline": "Good & well",
            "text": 'It "works".',
            "timestamp": 9,
            "user_name": "Jo",
        },
        {"user": "0A", "item": "B1", "rating": 4.0, "headline": None, "text": None, "timestamp": 7, "user_name": None},
    ]


def test_reviews_as_literals_and_with_half_a_character(tmp_path: Path) -> None:
    """The complete files of the release are Python literals too; some texts end in half a surrogate pair."""
    lines = (
        review(overall=5, summary="x \ud83d")
        + "{'reviewerID': 'A2', 'asin': 'B1', 'overall': 2.0, 'summary': 'it\\'s'}\n"
    )
    table = read_reviews(pack(tmp_path / "r.json.gz", lines))
    assert table.frame.select("user", "rating", "headline").rows() == [("A1", 5.0, "x ?"), ("A2", 2.0, "it's")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (review() + "{'reviewerID': ", r"not an object .*r.json.gz, line 2: "),
        (review() + '"text"\n', r"not an object .*line 2: it is a str"),
        (review() + review(reviewerID=None), r"no user .*r.json.gz, line 2\)"),
        (review() + review(overall="many"), r"rating 'many' is not a number .*line 2\)"),
        (review() + review(unixReviewTime="soon"), r"timestamp 'soon' .*line 2\)"),
        ("", r"empty"),
    ],
)
def test_reviews_that_cannot_be_read(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_reviews(pack(tmp_path / "r.json.gz", lines))


def test_truncated(tmp_path: Path) -> None:
    path = pack(tmp_path / "r.json.gz", review() * 500)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"unreadable or truncated gzip .*r.json.gz"):
        read_reviews(path)
    with pytest.raises(UserError, match=r"no file .*gone"):
        read_reviews(tmp_path / "gone")


REVIEWS_2018 = {
    "overall": 5.0, "verified": True, "reviewTime": "01 1, 2015", "reviewerID": "A1", "asin": "B1", "vote": "2",
    "style": {"Size:": " L"}, "reviewText": "Fits &amp; warms.", "summary": "s", "unixReviewTime": 1420070400,
    "image": ["http://x.test/i.jpg"],
}  # fmt: skip
META_2018 = {
    "category": ["Clothing", "Men &amp; Boys"], "description": ["One.", "Two."], "asin": "B1", "brand": "B",
    "title": '<span class="a">Warm  hat</span>', "imageURL": ["http://x.test/s/0._SS40_.jpg"],
    "imageURLHighRes": ["http://x.test/b/0.jpg"], "price": "$9",
}  # fmt: skip
REVIEWS_2023 = {
    "rating": 4.0, "title": "warm", "text": "Fits well.", "images": [], "asin": "V7", "parent_asin": "B1",
    "user_id": "A1", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": True,
}  # fmt: skip
META_2023 = {
    "main_category": "All", "title": "Warm hat", "store": "Shop", "categories": ["C1", "C2"], "parent_asin": "B1",
    "description": ["One.", "Two."], "features": [], "details": {},
    "images": [{"thumb": "http://x.test/t.jpg", "large": "http://x.test/l.jpg", "hi_res": None, "variant": "MAIN"}],
}  # fmt: skip


def test_the_release_of_2018(tmp_path: Path) -> None:
    reviews = read_reviews(pack(tmp_path / "Hats_5.json.gz", json.dumps(REVIEWS_2018)))
    assert reviews.frame.drop("row").to_dicts() == [
        {"user": "A1", "item": "B1", "rating": 5.0, "headline": "s", "text": "Fits & warms.",
         "timestamp": 1420070400, "user_name": None}
    ]  # fmt: skip
    items = read_meta(pack(tmp_path / "meta_Hats.json.gz", json.dumps(META_2018)), {"B1"})
    assert items.frame.drop("row").to_dicts() == [
        {"item": "B1", "title": "Warm  hat", "brand": "B", "description": "One. Two.", "image": "0.jpg",
         "categories": ["Clothing", "Men & Boys"]}
    ]  # fmt: skip


def test_what_is_decided_of_the_metadata_is_said(tmp_path: Path) -> None:
    notes: list[str] = []
    read_meta(pack(tmp_path / "meta_Beauty.json.gz", META), {"B1", "B2", "B3", "B4"}, notes.append)
    assert [note.split(" (")[0] for note in notes] == [
        "1 lines are about an item that has one before them, which counts",
        "1 of 4 reviewed items are not described, and stand without a title",
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"image": ["http://x.test/0.jpg"], "imageURL": None, "imageURLHighRes": None},
        {"imageURLHighRes": [], "imageURL": "http://x.test/0.jpg"},
        {"imageURLHighRes": None, "imageURL": [], "category": None, "categories": [["Clothing"], ["Men &amp; Boys"]]},
        {"imageURLHighRes": ["http://[x/0.jpg"]},
    ],
)
def test_lists_where_other_releases_have_texts(tmp_path: Path, other: dict) -> None:
    """Whatever keys there are, no list is written as Python prints it."""
    line = {key: value for key, value in (META_2018 | other).items() if value is not None}
    item = read_meta(pack(tmp_path / "meta.json.gz", json.dumps(line)), {"B1"}).frame.to_dicts()[0]
    assert (item["title"], item["description"]) == ("Warm  hat", "One. Two.")
    assert item["categories"] == ["Clothing", "Men & Boys"]
    assert item["image"] in ("0.jpg", None)


def test_the_release_of_2023(tmp_path: Path) -> None:
    """Items are parents of variants; times are milliseconds."""
    reviews = read_reviews(pack(tmp_path / "Hats.jsonl.gz", json.dumps(REVIEWS_2023)))
    assert reviews.frame.drop("row").to_dicts() == [
        {
            "user": "A1",
            "item": "B1",
            "rating": 4.0,
            "headline": "warm",
            "text": "Fits well.",
            "timestamp": 1588687728.923,
        }
    ]
    items = read_meta(pack(tmp_path / "meta_Hats.jsonl.gz", json.dumps(META_2023)), {"B1"})
    assert items.frame.drop("row").to_dicts() == [
        {"item": "B1", "title": "Warm hat", "brand": "Shop", "description": "One. Two.", "image": "l.jpg",
         "categories": ["C1", "C2"]}
    ]  # fmt: skip
