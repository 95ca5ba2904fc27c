"""Amazon's reviews as published in 2014, 2018 and 2023: `reviews_X_5.json.gz` and `meta_X.json.gz`, or `.jsonl`.

R. He, J. McAuley: Ups and downs, WWW 2016; J. Ni et al., EMNLP 2019; Y. Hou et al., arXiv 2403.03952. An object a line:
JSON, but for the metadata of 2014, which are Python literals. In 2023 items are known by their parent_asin.
"""

import ast
import contextlib
import html
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from vip5.data.ids import as_id
from vip5.data.packed import unpacked
from vip5.data.table import Table
from vip5.data.tables import typed
from vip5.errors import UserError

_REVIEW = {
    "reviewerID": "user",
    "asin": "item",
    "overall": "rating",
    "summary": "headline",
    "reviewText": "text",
    "unixReviewTime": "timestamp",
    "reviewerName": "user_name",
}
_REVIEW_2023 = {
    "user_id": "user",
    "parent_asin": "item",
    "rating": "rating",
    "title": "headline",
    "text": "text",
    "timestamp": "timestamp",
}
_META = ("title", "brand", "categories", "description", "imUrl")
_PHOTOS = ("imUrl", "imageURLHighRes", "imageURL", "images", "image")
_LATER = {"category", "parent_asin", "imageURL", "imageURLHighRes"}  # what the metadata of 2014 do not have
_AT_ONCE = 2**14  # reviews
_TAG = re.compile(r"<[^<>]+>")  # in titles of 2018
_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?:None|True|False)\b""", re.DOTALL)
_WORDS = {"None": "null", "True": "true", "False": "false"}
# Most of a line of metadata: lists of ids of related products, which nothing here uses.
_RELATED = re.compile(r"""(?<=, )'related': \{(?:'\w+': \[(?:'\w+'(?:, )?)*\](?:, )?)*\}, (?=')""")


def _silent(line: str) -> None:
    pass


def read_reviews(path: str | Path) -> Table:
    """The table `reviews` of a file of the release; rows are its lines.

    Raises: UserError for a damaged gzip, a line that is not an object, a review without a user or an item.
    """
    path = Path(path)
    with _opened(path) as plain:
        first = next((record for _, record in _records(path, plain)), {})
        names = _REVIEW_2023 if "user_id" in first else _REVIEW
        schema: dict[str, pl.DataType] = {theirs: pl.String() for theirs in names}
        schema |= {theirs: pl.Float64() for theirs in ("overall", "rating") if theirs in names}
        schema |= {theirs: pl.Int64() for theirs in ("unixReviewTime", "timestamp") if theirs in names}
        try:
            frame = pl.read_ndjson(plain, schema=schema).with_row_index("row", offset=1)
        except pl.exceptions.PolarsError:  # an object that is not strict JSON, or a line that we can name
            frame = _as_text(_records(path, plain), names)
    frame = frame.rename(names)
    told = [name for name in ("headline", "text", "user_name") if name in frame.columns]
    texts = [pl.col(name).map_batches(_unescape, pl.String) for name in told]
    return typed(Table(frame.with_columns(texts), path, tuple(names), "line"), "reviews")[0]


def _as_text(records: Iterator[tuple[int, dict[str, Any]]], names: Mapping[str, str]) -> pl.DataFrame:
    """The rows of reviews with all their values as text."""
    schema = {"row": pl.UInt32(), **dict.fromkeys(names, pl.String())}
    rows = ((n, *(None if record.get(key) is None else _text(record[key]) for key in names)) for n, record in records)
    parts = [pl.DataFrame(schema=schema)]
    while part := list(islice(rows, _AT_ONCE)):
        parts.append(pl.DataFrame(part, schema=schema, orient="row"))
    return pl.concat(parts)


def read_meta(path: str | Path, items: Collection[str], report: Callable[[str], object] = _silent) -> Table:
    """The table `items` of a file of the release, for these items only; the first line of each counts.

    Raises: UserError for a damaged gzip, or a line that is neither a Python literal nor JSON.
    """
    path, again = Path(path), 0
    rows: dict[str, dict[str, Any]] = {}
    with _opened(path) as plain:
        for number, record in _records(path, plain, only=items):
            item = as_id(record.get("parent_asin") or record.get("asin") or "")
            again += item in rows
            if item in items and item not in rows:
                rows[item] = {"row": number, "item": item, **_described(record)}
    if again:
        report(f"{again:,} lines are about an item that has one before them, which counts ({path})")
    if rows and (bare := len(items) - len(rows)):
        report(f"{bare:,} of {len(items):,} reviewed items are not described, and stand without a title ({path})")
    if not rows:
        raise UserError(f"{path} describes none of the {len(items)} reviewed items: give the file of the same category")
    schema = {name: pl.String() for name in ("item", "title", "brand", "description", "image")}
    frame = pl.DataFrame(list(rows.values()), schema={"row": pl.UInt32(), **schema, "categories": pl.List(pl.String())})
    return typed(Table(frame, path, ("asin", *_META), "line"), "items")[0]


def _described(record: dict[str, Any]) -> dict[str, Any]:
    """Our columns of an item of any release: paragraphs joined, the first of its photos, categories each once."""
    title, description = record.get("title"), record.get("description")
    if title and record.keys() & _LATER:
        title = _TAG.sub("", str(title))
    if isinstance(description, list):
        description = " ".join(_names(description))
    texts = {"title": title, "brand": record.get("brand") or record.get("store"), "description": description}
    categories = next((record[key] for key in ("categories", "category", "main_category") if record.get(key)), None)
    return {
        **{name: _text(value) if value else None for name, value in texts.items()},
        "categories": list(dict.fromkeys(_names(categories))),
        "image": _photo(record),
    }


def _photo(record: dict[str, Any]) -> str | None:
    """The file name of an item's first photo."""
    photo = next((record[key] for key in _PHOTOS if record.get(key)), "")
    photo = photo[0] if isinstance(photo, list) else photo
    if isinstance(photo, dict):
        photo = next((photo[size] for size in ("hi_res", "large", "thumb") if photo.get(size)), "")
    with contextlib.suppress(ValueError):  # what is no address
        return PurePosixPath(urlsplit(_text(photo)).path).name or None
    return None


def literal(line: str) -> Any:
    """The value of a line that is a Python literal (or JSON); ValueError when it is neither. Nothing is evaluated.

    A literal differs from JSON in its quotes, escapes and three words, so most lines become JSON by replacing those,
    which is several times as fast as `ast.literal_eval`.
    """
    if line.startswith('{"'):
        translated = line
    elif '"' not in line and "\\" not in line:
        translated = line.replace("'", '"')
    else:
        translated = _STRING.sub(_translate, line)
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(translated, strict=False)
    try:
        return ast.literal_eval(line)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(str(error) or type(error).__name__) from None


def _translate(match: re.Match[str]) -> str:
    text = match[0]
    if text in _WORDS:
        return _WORDS[text]
    if "\\" in text:
        return json.dumps(ast.literal_eval(text))
    return '"' + text[1:-1].replace('"', '\\"') + '"'


def _records(path: Path, plain: Path, only: Collection[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects; with `only`, lines that begin with the id of another item are not parsed."""
    with plain.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if record := _record(path, number, raw, only):
                yield number, record


def _record(path: Path, number: int, raw: bytes, only: Collection[str] | None) -> dict[str, Any] | None:
    """The object of a line, if it has one that is wanted; UserError for another line."""
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        unwanted = only is not None and line.startswith("{'asin': '") and line[10:].split("'", 1)[0] not in only
        if not line or unwanted:
            return None
        record = literal(_RELATED.sub("", line, count=1))
        if not isinstance(record, dict):
            raise ValueError(f"it is a {type(record).__name__}")
    except ValueError as error:
        what = str(error).splitlines()[0]
        raise UserError(f"not an object ({path}, line {number}: {what}): remove the line, or download again") from None
    return record


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    if not path.is_file():
        raise UserError(f"no file {path}: give a file as published, like reviews_Beauty_5.json.gz")
    with unpacked(path) as plain:
        yield plain


def _unescape(values: pl.Series) -> pl.Series:
    """HTML entities as characters, where there are any."""
    marked = values.filter(values.str.contains("&", literal=True).fill_null(False)).unique()
    return values.replace(marked, pl.Series([html.unescape(text) for text in marked], dtype=pl.String))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _names(part)
    elif value:
        yield _text(value)


def _text(value: Any) -> str:
    """Entities as characters; halves of surrogate pairs, which UTF-8 cannot hold, as "?"."""
    return html.unescape(str(value)).encode("utf-8", "replace").decode()
