"""Names: the columns of each table as people write them, and the manifest of a dataset folder."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vip5.errors import UserError, first_fault

Protocol = Literal["clean", "paper"]
SplitKind = Literal["leave-one-out", "time"]  # of the interactions
ReviewSplit = Literal["by-time", "by-pair", "random"]
CandidatesBy = Literal["uniform", "popularity"]
Order = Literal["time", "position", "file"]  # what the order within a user was taken from
Ties = Literal["shuffle", "file", "drop"]
HOLDOUT = 0.1  # share of a split by time
NEGATIVES = 99  # in a list of candidates
REPEATS_COMMON = 0.05  # share of the training purchases from which on people are said to buy again
TRAIN, VALIDATION, TEST = "train", "validation", "test"
MANIFEST = "manifest.json"

_USER = ("user_id", "reviewer_id", "customer_id", "uid", "critic", "account_id")
_ITEM = (
    "item_id",
    "parent_asin",  # before asin: in Amazon's release of 2023 the items are described by it
    "asin",
    "product_id",
    "article_id",
    "movie_id",
    "iid",
    "sku",
    "book_id",
    "business_id",
)
_TIME = ("ts", "unix_review_time", "t_dat", "datetime", "unixtime", "event_time")
_RATING = ("overall", "stars", "star", "star_rating", "score", "review_score")
_NAME = ("reviewer_name", "customer_name", "username", "profile_name")

# date and time, where both are there, are joined to a timestamp; one of them alone is the timestamp.
# table -> our column -> the names it also goes by, the likeliest first. Compared without case, "_", "-" and spaces.
COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "interactions": {
        "user": _USER,
        "item": _ITEM,
        "timestamp": _TIME,
        "date": (),
        "time": (),
        "position": ("pos", "order"),
        "rating": _RATING,
        "user_name": _NAME,
    },
    "items": {
        "item": (*_ITEM, "id"),
        "title": ("name", "item_title", "product_title", "item_name", "product_name", "prod_name"),
        "brand": ("brand_name", "manufacturer", "store"),
        "categories": ("category", "genres", "genre", "tags", "item_categories"),
        "description": ("detail_desc", "desc", "item_description", "product_description", "plot", "overview"),
        "image": ("photo", "picture", "image_path", "img", "image_file", "im_url", "image_url"),
        "paper_id": (),
    },
    "reviews": {
        "user": _USER,
        "item": _ITEM,
        "rating": _RATING,
        "headline": ("summary", "title", "review_headline", "review_title", "review_summary"),
        "text": ("review_text", "review", "review_body", "body", "content", "comment"),
        "feature": ("feature_word", "aspect"),
        "explanation": ("explanation_sentence",),
        "timestamp": _TIME,
        "date": (),
        "time": (),
        "user_name": _NAME,
    },
    "explanations": {
        "user": _USER,
        "item": _ITEM,
        "feature": ("feature_word", "aspect"),
        "explanation": ("explanation_sentence", "sentence"),
    },
}
REQUIRED = {
    "interactions": ("user", "item"),
    "items": ("item",),
    "reviews": ("user", "item"),
    "explanations": ("user", "item", "explanation"),
}


def without_ids(kind: str) -> tuple[str, str]:
    """What is wrong with a row that has a value, but none of ours; and the remedy."""
    return f"no {REQUIRED[kind][0]}", "fill it in or remove the row"


class Input(BaseModel):
    """A file that went in; for the folder of photos, all the photos together."""

    model_config = ConfigDict(extra="forbid")
    file: str
    bytes: int
    sha256: str
    files: int = 1


def protocol_of(review_split: ReviewSplit) -> Protocol:
    """What numbers on such data are worth: only at random may the text of a held-out interaction be trained on."""
    return "paper" if review_split == "random" else "clean"


class Manifest(BaseModel):
    """What a dataset folder holds and how it was made. What has a default is missing in folders of older versions."""

    model_config = ConfigDict(extra="forbid")
    format: Literal[1] = 1
    name: str
    protocol: Protocol
    k_core: int | None = None
    split: SplitKind = "leave-one-out"
    holdout: float | None = None  # share of the interactions that is for the test, where the split is by time
    split_times: tuple[int | float, int | float] | None = (
        None  # where validation and test begin, in seconds or as in the data
    )
    review_split: ReviewSplit = Field(
        default_factory=lambda data: "random" if data["protocol"] == "paper" else "by-time"
    )
    candidates_by: CandidatesBy = "uniform"
    candidate_lists: int = 1
    candidates_hash: str | None = None
    order: Order | None = None
    ties: Ties | None = None  # what was done with them
    repeats_share: float | None = None  # of the training part after each user's first: items that they had before
    seed: int
    counts: dict[str, int]
    inputs: dict[str, Input]
    images_root: str | None = None
    versions: dict[str, str]
    created: str
    hash: str

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a dataset folder; UserError where there is none or another version wrote it."""
        try:
            return cls.model_validate_json((folder / MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{folder} is not a dataset folder, it has no {MANIFEST}: make one with `vip5 data prepare`"
            ) from None
        except OSError as error:
            raise UserError(f"cannot read {folder / MANIFEST} ({error.strerror}): check its permissions") from None
        except ValidationError as error:
            where, what, _ = first_fault(error)
            raise UserError(
                f"{folder / MANIFEST} is damaged or of another version ({where or 'the whole file'}: {what}): "
                "prepare the data again with --overwrite"
            ) from None


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """`theirs=ours` pairs as a dict; UserError for another form or a name that is not ours."""
    ours = sorted({name for columns in COLUMNS.values() for name in columns})
    mapping = {}
    for pair in pairs:
        theirs, equals, name = pair.rpartition("=")
        if not equals or not theirs:
            raise UserError(f"--map {pair} is not theirs=ours: write, for example, --map customer=user")
        if name not in ours:
            if theirs in ours:
                raise UserError(f"--map {pair} has its sides the wrong way round: write --map {name}={theirs}")
            raise UserError(f"--map {pair}: there is no column {name!r}; ours are {', '.join(ours)}")
        mapping[theirs] = name
    return mapping


def match_columns(kind: str, names: Iterable[str], mapping: Mapping[str, str] | None, file: Path) -> dict[str, int]:
    """Which column of a file is which of ours: our name → its place. A mapped column counts as nothing else.

    A column of dates or of times alone is the timestamp, and neither counts where there is one.
    Raises: UserError when a required column is not there.
    """
    names, given, mapping = list(names), mapping, mapping or {}
    found = {mapping[name]: i for i, name in enumerate(names) if mapping.get(name) in COLUMNS[kind]}
    free = {_fold(name): i for i, name in reversed(list(enumerate(names))) if name not in mapping}
    for ours, aliases in COLUMNS[kind].items():
        if ours not in found:
            hits = [free.pop(key) for alias in (ours, *aliases) if (key := _fold(alias)) in free]
            found |= {ours: hits[0]} if hits else {}
    if "timestamp" in found:
        found = {ours: i for ours, i in found.items() if ours not in ("date", "time")}
    elif len(parts := {"date", "time"} & found.keys()) == 1:
        found["timestamp"] = found.pop(parts.pop())
    for ours in REQUIRED[kind]:
        if ours not in found:
            remedy = f"call the right one {ours}" if given is None else f"name the right one with --map THEIRS={ours}"
            what = f"no column {ours!r} in the table of {kind} ({file}, row 1; its columns are {', '.join(names)})"
            raise UserError(f"{what}: {remedy}")
    return found


def time_columns(names: Iterable[str]) -> list[str]:
    """Those of a file's columns that may be its timestamp, by their names."""
    known = {_fold(name) for name in ("timestamp", *_TIME, "date", "time")}
    return [name for name in names if _fold(name) in known]


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
