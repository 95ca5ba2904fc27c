"""From a review to the sentence that explains it."""

from pathlib import Path

import polars as pl
import pytest

from vip5.data.reviews import first_sentence, with_explanations
from vip5.data.table import Table
from vip5.errors import UserError


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("It works very well. I would buy it again.", "It works very well."),
        ("  Not\n\nas shown!!  Sent  it back", "Not as shown!!"),
        ('He said "buy two of it." I did.', 'He said "buy two of it."'),
        ("no end and no beginning", "no end and no beginning"),
        ("Costs 3.50 in version 1.2 only. Yes", "Costs 3.50 in version 1.2 only."),
        ("Great. I love it so much.", None),
        ("ok", None),
        ("", None),
        (None, None),
        ("w " * 100, " ".join("w" * 64)),
        ("质量很好。下次还会买。", "质量很好。"),
        ("「とても良い！」また買います", "「とても良い！」"),
        ("ใช้งานง่ายมากค่ะ", "ใช้งานง่ายมากค่ะ"),
        ("这双鞋很舒服!下次还会买.", "这双鞋很舒服!"),
        ("评分4.5分,值得购买.很好", "评分4.5分,值得购买."),
        ("とても軽いです。また買います。", "とても軽いです。"),
        ("신발이 정말 편해요. 또 살게요.", "신발이 정말 편해요."),
        ("Очень удобно… и красиво. Рекомендую.", "Очень удобно… и красиво."),
        ("ཡག་པོ་ཞེ་དྲག་འདུག། ཉོ་ཡི།", "ཡག་པོ་ཞེ་དྲག་འདུག།"),
        ("बहुत अच्छा है। फिर लूँगा", "बहुत अच्छा है।"),
        ("جميل جدا وسريع؟ نعم", "جميل جدا وسريع؟"),
        ("好", None),
        ("很" * 300, "很" * 128),
        ("Works with 电 and " + "w " * 80, "Works with 电 and " + " ".join("w" * 60)),
    ],
)
def test_first_sentence(text: str | None, sentence: str | None) -> None:
    frame = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    assert frame.select(first_sentence(pl.col("text"))).item() == sentence


def table(name: str, **columns: list) -> Table:
    return Table(pl.DataFrame(columns).with_row_index("row", offset=2), Path(name), tuple(columns))


def test_a_column_of_explanations_is_taken_as_it_is() -> None:
    reviews = table(
        "r.csv", user=["a", "b"], item=["x", "y"], text=["A long good text.", "So it is."], explanation=["why", None]
    )
    assert with_explanations(reviews, None)["explanation"].to_list() == ["why", None]


def test_a_table_of_explanations_goes_by_user_and_item() -> None:
    reviews = table("r.csv", user=["a", "b", "c"], item=["x", "y", "z"], text=["one two three."] * 3)
    told = table(
        "e.csv", user=["b", "b", "a"], item=["y", "y", "q"], feature=["f", "g", "h"], explanation=["1", "2", "3"]
    )
    whole = with_explanations(reviews, told)
    assert whole.select("user", "feature", "explanation").rows() == [
        ("a", None, None),
        ("b", "f", "1"),
        ("c", None, None),
    ]
    with pytest.raises(UserError, match=r"no explanation matches a review .*e.csv"):
        with_explanations(reviews, table("e.csv", user=["b"], item=["x"], explanation=["1"]))
