"""How a dataset is made, apart from the files that go in. Each option stands here once: the command line, the keyword
arguments in Python and the table in the docs are made of these fields."""

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vip5.data.schema import HOLDOUT, NEGATIVES, CandidatesBy, ReviewSplit, SplitKind, Ties
from vip5.errors import UserError


class DatasetOptions(BaseModel):
    """What holds whatever the files are. Raises, when made: UserError for values that do not go together."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    images: Path | None = Field(None, description="Folder of photos; none outside it is read.")
    k_core: int | None = Field(
        None, ge=1, description="Keep users and items with at least this many interactions; all when not given."
    )
    split: SplitKind = Field(
        "leave-one-out",
        description="Held out: the last two interactions of each user, or what lies after one point in time.",
    )
    holdout: float | None = Field(
        None,
        description=f"With --split time: share of the interactions for the test, and as much for validation; {HOLDOUT} "
        "when not given.",
    )
    ties: Ties = Field(
        "shuffle",
        description="Interactions of a user at the same time: in an order that the seed draws; in the file's order; or "
        "drawn, and users whose test item is one of them are not tested.",
    )
    review_split: ReviewSplit = Field(
        "by-time",
        description="How explanations are split: as the interactions; 8:1:1 at random, but pairs that are held out as "
        "the interactions; or 8:1:1 whatever is held out (the paper's, leaky).",
    )
    candidates: int = Field(NEGATIVES, ge=1, description="Negatives beside the test item in each stored list, at most.")
    candidates_by: CandidatesBy = Field(
        "uniform", description="How negatives are drawn: all alike, or by how often training has them."
    )
    candidate_lists: int = Field(1, ge=1, description="Lists of negatives for each user, drawn independently.")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of everything random in this command.")
    name: str | None = Field(None, description="Name of the data; the folder's when not given.")
    overwrite: bool = Field(False, description="Replace a dataset that is there, its vectors too.")

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.holdout is not None and self.split != "time":
            raise UserError("--holdout without --split time: leave-one-out holds out two interactions of each user")
        if not 0 < self.share < 0.5:
            raise UserError(f"--holdout {self.share:g} leaves no three parts: give a share above 0 and below 0.5")
        if self.ties == "drop" and self.split == "time":
            what = "interactions of the same time are in the same part there, so none is to drop"
            raise UserError(f"--ties drop with --split time: {what}; leave out --ties drop")
        return self

    @property
    def share(self) -> float:
        """Of all interactions, what a split by time keeps for the test, and as much again for validation."""
        return HOLDOUT if self.holdout is None else self.holdout


class PrepareOptions(DatasetOptions):
    """And how the tables of `prepare` are written."""

    date_format: str | None = Field(
        None,
        description="How the timestamps are written, as %d.%m.%Y or %m/%d/%Y %I:%M %p; numbers of one unit and dates "
        "like 2014-02-28 10:30:00 need none.",
    )
    decimal: Literal[".", ","] = Field(
        ".", description="What stands before the decimals of a number. With a comma, 1.234,5 has a dot for thousands."
    )
    encoding: str = Field("utf-8", description="Encoding of csv files, as cp1252, utf-16 or shift_jis.")

    @model_validator(mode="after")
    def _known_encoding(self) -> Self:
        try:
            "".encode(self.encoding)  # LookupError also for codecs that are not of text
        except (LookupError, UnicodeError):
            raise UserError(
                f"unknown encoding {self.encoding!r}: give one that Python knows, as utf-8, cp1252 or utf-16"
            ) from None
        return self

    @property
    def is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")


@dataclass(frozen=True)
class Job:
    """The options, and whom to tell: `report` gets a line for each thing decided or left out."""

    options: DatasetOptions
    progress: bool
    report: Callable[[str], object]
