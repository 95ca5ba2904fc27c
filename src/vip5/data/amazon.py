"""Amazon's reviews as published in 2014, 2018 and 2023: `reviews_X_5.json.gz` and `meta_X.json.gz`, or `.jsonl`.

R. He, J. McAuley: Ups and downs, WWW 2016; J. Ni et al., EMNLP 2019; Y. Hou et al., arXiv 2403.03952. An object a line:
JSON, but for the metadata of 2014, which are Python literals. In 2023 items are known by their parent_asin.
"""

import ast
import contextlib
import html
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import polars as pl

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
_TAG = re.compile(r"<[^<>]+>")  # in titles of 2018
_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?:None|True|False)\b""", re.DOTALL)
_WORDS = {"None": "null", "True": "true", "False": "false"}
# Most of a line of metadata: lists of ids of related products, which nothing here uses.
_RELATED = re.compile(r"""(?<=, )'related': \{(?:'\w+': \[(?:'\w+'(?:, )?)*\](?:, )?)*\}, (?=')""")


def read_reviews(path: str | Path) -> Table:
    """The table `reviews` of a file of the release; rows are its lines.

    Raises: UserError for a damaged gzip, a line that is not an object, a review without a user or an item.
    """
    path = Path(path)
    data = _read(path)
    first = next((record for _, record in _records(path, data[: data.find(b"\n") + 1 or None])), {})
    names = _REVIEW_2023 if "user_id" in first else _REVIEW
    schema: dict[str, pl.DataType] = {theirs: pl.String() for theirs in names}
    schema |= {theirs: pl.Float64() for theirs in ("overall", "rating") if theirs in names}
    schema |= {theirs: pl.Int64() for theirs in ("unixReviewTime", "timestamp") if theirs in names}
    try:
        frame = pl.read_ndjson(data, schema=schema).with_row_index("row", offset=1)
    except pl.exceptions.PolarsError:  # an object that is not strict JSON, or a line that we can name
        rows = [{"row": number, **record} for number, record in _records(path, data)]
        for row in rows:
            row |= {key: _text(row[key]) for key in schema if row.get(key) is not None}
        frame = pl.DataFrame(rows, schema={"row": pl.UInt32(), **dict.fromkeys(names, pl.String())})
    frame = frame.rename(names)
    told = [name for name in ("headline", "text", "user_name") if name in frame.columns]
    texts = [pl.col(name).map_batches(_unescape, pl.String) for name in told]
    return typed(Table(frame.with_columns(texts), path, tuple(names), "line"), "reviews")[0]


def read_meta(path: str | Path, items: Collection[str]) -> Table:
    """The table `items` of a file of the release, for these items only; the first line of each counts.

    Raises: UserError for a damaged gzip, or a line that is neither a Python literal nor JSON.
    """
    path = Path(path)
    rows: dict[str, dict[str, Any]] = {}
    for number, record in _records(path, _read(path), only=items):
        item = record.get("parent_asin") or record.get("asin")
        if isinstance(item, str) and item in items and item not in rows:
            told = _as_in_2014(record)
            texts = {key: _text(told[key]) if told.get(key) else None for key in _META}
            rows[item] = {
                "row": number,
                "item": item,
                **{key: texts[key] for key in ("title", "brand", "description")},
                "categories": list(dict.fromkeys(_names(told.get("categories")))),
                "image": PurePosixPath(urlsplit(texts["imUrl"] or "").path).name or None,
            }
    if not rows:
        raise UserError(f"{path} describes none of the {len(items)} reviewed items: give the file of the same category")
    schema = {name: pl.String() for name in ("item", "title", "brand", "description", "image")}
    frame = pl.DataFrame(list(rows.values()), schema={"row": pl.UInt32(), **schema, "categories": pl.List(pl.String())})
    return typed(Table(frame, path, ("asin", *_META), "line"), "items")[0]


def _as_in_2014(record: dict[str, Any]) -> dict[str, Any]:
    """An item of a later release under the names of 2014: paragraphs joined, the first of its photos."""
    if not {"category", "parent_asin", "imageURL", "imageURLHighRes"} & set(record):
        return record
    photos = next((record[key] for key in ("imageURLHighRes", "imageURL", "images") if record.get(key)), None)
    photo = photos[0] if isinstance(photos, list) else photos
    if isinstance(photo, dict):
        photo = next((photo[size] for size in ("hi_res", "large", "thumb") if photo.get(size)), None)
    description = record.get("description")
    return {
        "title": _TAG.sub("", str(record.get("title") or "")),
        "brand": record.get("brand") or record.get("store"),
        "categories": record.get("category") or record.get("categories") or record.get("main_category"),
        "description": " ".join(_names(description)) if isinstance(description, list) else description,
        "imUrl": photo,
    }


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


def _records(path: Path, data: bytes, only: Collection[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects; with `only`, lines that begin with the id of another item are not parsed."""
    for number, raw in enumerate(data.split(b"\n"), start=1):
        try:
            line = raw.decode().strip()
            if not line or (
                only is not None and line.startswith("{'asin': '") and line[10:].split("'", 1)[0] not in only
            ):
                continue
            record = literal(_RELATED.sub("", line, count=1))
            if not isinstance(record, dict):
                raise ValueError(f"it is a {type(record).__name__}")
        except ValueError as error:
            what = str(error).splitlines()[0]
            raise UserError(
                f"not an object ({path}, line {number}: {what}): remove the line, or download again"
            ) from None
        yield number, record


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"no file {path}: give a file as published, like reviews_Beauty_5.json.gz")
    with unpacked(path) as plain:
        return plain.read_bytes()


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
