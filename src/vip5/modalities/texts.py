"""What is written of an item as one text: a template over the item's fields."""

import hashlib
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from vip5.data import Dataset
from vip5.errors import UserError

FIELDS = ("title", "brand", "categories", "description", "reviews")  # reviews: those of the training part
TEMPLATE = "{title} . {brand} . {categories}"

Texts = list[tuple[int, str]]  # item and its text


@dataclass(frozen=True)
class Template:
    """A text before the first field and one after the last, which always stand, and the fields between.

    Each field has a separator and a label before it, as ` . ` and `by ` in "{title} . by {brand}". A field that an item
    lacks takes both away; the first one that it has goes without the separator.
    """

    before: str
    parts: tuple[tuple[str, str, str], ...]  # separator, label, field
    after: str

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Raises: UserError for a template with no field, an unknown one, or braces that do not match."""
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError as error:
            raise UserError(f"the template {text!r} cannot be read ({error}): write fields as {{title}}") from None
        fields, literal = [], ""
        for piece, name, _, _ in pieces:  # braces that stand for themselves end a piece too
            literal += piece
            if name is not None:
                fields.append((literal, name))
                literal = ""
        unknown = next((name for _, name in fields if name not in FIELDS), None)
        if unknown is not None or not fields or any(spec or conversion for _, _, spec, conversion in pieces):
            wrong = f"an unknown field {unknown!r}" if unknown is not None else "no plain field"
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise UserError(f"the template {text!r} has {wrong}: the fields are {known}")
        parts = [("", "", fields[0][1])]
        for between, name in fields[1:]:
            separator = between[: len(between) - len(re.sub(r"^\W+", "", between))]
            parts.append((separator, between[len(separator) :], name))
        return cls(fields[0][0], tuple(parts), literal)

    def fill(self, fields: Mapping[str, str]) -> str:
        """The text of one item; empty where it has none of the fields."""
        text = ""
        for separator, label, name in self.parts:
            if value := fields[name]:
                text += (separator if text else "") + label + value
        return f"{self.before}{text}{self.after}" if text else ""


def texts_of(dataset: Dataset, template: str = TEMPLATE) -> Texts:
    """The text of each item that has one, white space made single.

    Raises: UserError for a template that is none, or where no item has any of its fields.
    """
    texts = [(item, text) for item, text in enumerate(item_texts(dataset, template)) if text]
    if not texts:
        names = ", ".join(sorted({name for _, _, name in Template.parse(template).parts}))
        raise UserError(f"no item of {dataset.path} has any of {names}: give another --template")
    return texts


def item_texts(dataset: Dataset, template: str = TEMPLATE) -> list[str]:
    """The text of every item, white space made single; empty where it has none of the fields."""
    parsed = Template.parse(template)
    fields = sorted({name for _, _, name in parsed.parts})
    items = dataset.items.with_columns(_training_reviews(dataset)) if "reviews" in fields else dataset.items
    rows = items.select(fields).iter_rows(named=True)
    return [parsed.fill({name: _plain(value) for name, value in row.items()}) for row in rows]


def hash_of_texts(texts: Texts) -> str:
    """Hash of which items have a text, and which."""
    digest = hashlib.sha256()
    for item, text in texts:
        digest.update(f"{item}:{len(text)}:{text};".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _training_reviews(dataset: Dataset) -> pl.Series:
    """What the reviews of each item say, a list of texts; nothing of a held-out review is read."""
    said: list[list[str]] = [[] for _ in range(dataset.n_items)]
    written = dataset.reviews.filter((pl.col("split") == "train") & pl.col("text").is_not_null())
    for item, text in written.select("item", "text").iter_rows():
        said[item].append(text)
    return pl.Series("reviews", said, pl.List(pl.String))


def _plain(value: str | Iterable[str | None] | None) -> str:
    words = [value] if isinstance(value, str) else [word for word in value or () if word]
    return " ".join(" ".join(words).split())
