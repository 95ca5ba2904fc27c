"""The settings that a model answers by; those of its training are more."""

from pydantic import BaseModel, ConfigDict, Field

from vip5.items import CodeSettings
from vip5.model.config import MOST_TOKENS
from vip5.model.terms import TermSettings
from vip5.prompts.settings import PromptSettings


class ModalityPart(BaseModel):
    """What a model makes of an item's vector of one modality."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(2, ge=0, le=MOST_TOKENS)  # k
    row: bool = False  # whether the vector is part of the row of the item's own token
    score: bool = False  # whether items whose vectors are like those of the history score higher

    @property
    def used(self) -> bool:
        return self.tokens > 0 or self.row or self.score


class Taught(BaseModel):
    """What a training draws for each user and epoch: samples of each task, of which one with 0 is not learnt."""

    model_config = ConfigDict(frozen=True)

    next: int = Field(5, ge=0)
    next_yes_no: int = Field(5, ge=0)
    yes_no: int = Field(5, ge=0)
    choice: int = Field(5, ge=0)
    explain: float = Field(1.0, ge=0)  # for each review; 0.2: for every fifth, others in each epoch
    # Of samples of histories in the decoder (prompts.history): the share that does not say who it is.
    forget_user: float = Field(0.0, ge=0, le=1)


class AnswerConfig(BaseModel):
    """What decides, with the weights, what a model answers."""

    model_config = ConfigDict(frozen=True)  # others among the settings of a training are passed over

    modalities: dict[str, ModalityPart] = {}  # by the name of their store; none: text alone, that is P5
    codes: CodeSettings = CodeSettings()
    prompts: PromptSettings = PromptSettings()
    samples: Taught = Taught()
    scores: TermSettings = TermSettings()  # terms of items' scores, beside those of modalities
    seed: int = Field(0, ge=0, lt=2**32)

    @property
    def has_terms(self) -> bool:
        """Whether anything but the network has a say in an item's score."""
        return bool(self.scores.names) or any(part.score for part in self.modalities.values())
