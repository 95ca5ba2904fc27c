"""Which prompts a model reads, and how long."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PromptSettings(BaseModel):
    """Which prompts, and how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extra: str | None = None  # a TOML file with prompts of one's own
    train: list[str] | None = Field(None, min_length=1)  # ids to train on; none: all that are not marked unseen
    max_input: int = Field(1024, ge=8)
    max_target: int = Field(64, ge=2)
    max_history: int = Field(50, ge=1)  # items; the most recent ones are kept
    # Where a person's history stands when the next item is asked for. prompt: in the prompt, as in the paper, and one
    # sample teaches one item. decoder: the decoder reads it as what it has written so far, and every item is a target.
    history: Literal["prompt", "decoder"] = "prompt"
