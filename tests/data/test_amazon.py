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
