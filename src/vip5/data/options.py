"""How a dataset is made, apart from the files that go in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vip5.data.schema import CandidatesBy, ReviewSplit, SplitKind
from vip5.data.splits import HOLDOUT
from vip5.errors import UserError


@dataclass(frozen=True)
class Options:
    """Checked when made; UserError for values that do not go together."""

    name: str
    images: str | Path | None
    k_core: int | None
    split: SplitKind
    holdout: float | None  # HOLDOUT when not given
    review_split: ReviewSplit
    candidates: int  # in a list, at most
    candidates_by: CandidatesBy
    candidate_lists: int
    seed: int
    progress: bool
    report: Callable[[str], object]

    def __post_init__(self) -> None:
        if self.holdout is not None and self.split != "time":
            raise UserError("--holdout without --split time: leave-one-out holds out two interactions of each user")
        if not 0 < self.share < 0.5:
            raise UserError(f"--holdout {self.share:g} leaves no three parts: give a share above 0 and below 0.5")
        if self.candidates < 1 or self.candidate_lists < 1:
            raise UserError(
                f"{self.candidate_lists} lists of {self.candidates} candidates: give at least one list of one"
            )

    @property
    def share(self) -> float:
        """Of all interactions, what a split by time keeps for the test, and as much again for validation."""
        return HOLDOUT if self.holdout is None else self.holdout
