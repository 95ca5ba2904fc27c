"""How a system is evaluated: the options of the command line and of Python, once."""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vip5.errors import UserError

if TYPE_CHECKING:
    from vip5.predict.system import Decoding


class EvaluateOptions(BaseModel):
    """Options of `vip5 evaluate`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decode: Literal["beam", "exact", "free"] = Field(
        "beam",
        description="How a model finds items: by beam search over the items' codes, by a search that loses none of the "
        "best, or by writing freely, where a code may be of no item.",
    )
    beams: int = Field(20, ge=1, description="Beams for items; with exact, the number of items listed.")
    text_beams: int = Field(1, ge=1, description="Beams for sentences; 1 is greedy.")
    cutoffs: tuple[int, ...] = Field((1, 5, 10), description="The k of HR@k, NDCG@k and MRR@k.")
    users: int | None = Field(None, ge=1, description="Test at most so many users, spread evenly.")
    allow_again: bool | None = Field(
        None,
        description="Whether next items may be ones the user had before; as is common in the data when not given.",
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of the bootstrap.")

    @model_validator(mode="after")
    def _fits(self) -> "EvaluateOptions":
        if not self.cutoffs or min(self.cutoffs) < 1:
            raise UserError("no cut-offs of 1 or more to score at: give some, as in --cutoff 5 --cutoff 10")
        if self.beams < max(self.cutoffs):
            most = max(self.cutoffs)
            raise UserError(f"{self.beams} beams find no {most} items to score: give at least {most}")
        return self

    def decoding(self, progress: bool = False) -> "Decoding":
        """The part of them that decides how answers are found."""
        from vip5.predict.system import Decoding  # not above: the command line reads this file without torch

        return Decoding(self.decode, self.beams, self.text_beams, progress)
