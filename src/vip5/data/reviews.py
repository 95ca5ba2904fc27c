"""Reviews and the sentence that explains each."""

import polars as pl

from vip5.data.scripts import UNSPACED
from vip5.data.table import Table
from vip5.errors import UserError

MAX_WORDS, MIN_WORDS = 64, 3
# Scripts that put no spaces between words (see scripts.py): two letters count as a word.
_UNSPACED = rf"[{UNSPACED}]"
_CLOSING = r"[\"')\]」』）”’]*"
# A sentence ends before a space, or after a mark that needs none: of Chinese, Japanese, Arabic, Hindi, Burmese, Khmer,
# Tibetan, Ethiopic, Armenian.
_SENTENCE = rf"^(.+?(?:[.!?]+{_CLOSING}(?:\s|$)|[。！？｡؟۔।॥။។།።։]+{_CLOSING}))"


def first_sentence(text: pl.Expr) -> pl.Expr:
    """The first sentence of a text in at most MAX_WORDS words; null when it has fewer than MIN_WORDS."""
    plain = text.str.replace_all(r"\s+", " ").str.strip_chars()
    # Between letters of such scripts a Latin mark ends a sentence without a space, too.
    marked = plain.str.replace_all(rf"({_UNSPACED}[.!?]+{_CLOSING})({_UNSPACED})", "$1\n$2")
    sentence = pl.coalesce(marked.str.extract(_SENTENCE), plain).str.strip_chars()
    words, unspaced = sentence.str.split(" "), sentence.str.count_matches(_UNSPACED)
    mostly = 2 * unspaced > sentence.str.len_chars()
    cut = (
        pl.when(mostly).then(sentence.str.slice(0, 2 * MAX_WORDS)).otherwise(words.list.head(MAX_WORDS).list.join(" "))
    )
    return pl.when(words.list.len() + unspaced // 2 >= MIN_WORDS).then(cut)


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


def why_unexplained(reviews: Table, explanations: Table | None) -> str:
    """Why a review has no explanation, where it has none."""
    if explanations is not None:
        return f"of the others {explanations.file} has none"
    if "explanation" in reviews.spelled or "explanation" in reviews.frame.columns:
        return f"the others have none in column {reviews.spelled.get('explanation', 'explanation')!r}"
    if "text" in reviews.frame.columns:
        return f"the others have no text of {MIN_WORDS} words or more"
    return "there is no column of texts: name it with --map THEIRS=text"
