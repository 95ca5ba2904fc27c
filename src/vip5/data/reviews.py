"""Reviews and the sentence that explains each."""

import polars as pl

from vip5.data.table import Table
from vip5.errors import UserError

MAX_WORDS, MIN_WORDS = 64, 3


def first_sentence(text: pl.Expr) -> pl.Expr:
    """The first sentence of a text in at most MAX_WORDS words; null when it has fewer than MIN_WORDS."""
    plain = text.str.replace_all(r"\s+", " ").str.strip_chars()
    sentence = pl.coalesce(plain.str.extract(r"^(.+?[.!?]+[\"')\]]*)(?:\s|$)"), plain)
    words = sentence.str.split(" ")
    return pl.when(words.list.len() >= MIN_WORDS).then(words.list.head(MAX_WORDS).list.join(" "))


def with_explanations(reviews: Table, explanations: Table | None) -> pl.DataFrame:
    """The reviews with the explanation of each, as far as there is one.

    It is what `explanations` says of the pair of user and item (the first, where it says several), else
    the reviews' own column `explanation`, else the first sentence of the text.
    """
    frame = reviews.frame
    if explanations is not None:
        told = explanations.frame.drop("row").unique(["user", "item"], keep="first", maintain_order=True)
        extra = [name for name in ("feature", "explanation") if name in frame.columns]
        frame = frame.drop(extra).join(told, on=["user", "item"], how="left", maintain_order="left")
        if frame["explanation"].null_count() == frame.height:
            remedy = "give the explanations of the same reviews"
            raise UserError(f"no explanation matches a review by user and item ({explanations.file}): {remedy}")
    elif "explanation" not in frame.columns and "text" in frame.columns:
        frame = frame.with_columns(explanation=first_sentence(pl.col("text")))
    return frame
