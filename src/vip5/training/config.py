"""The configuration of a run: a preset, a TOML file over it, dotted overrides over both. Unknown keys are errors."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from vip5.errors import UserError, first_fault
from vip5.items import CodeSettings
from vip5.model import AdapterConfig
from vip5.space import Choice, Real, Space

PRESETS = ("nano", "small", "base")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPart(_Part):
    """The backbone and what VIP5 adds to it."""

    backbone: str | None = None  # a folder or hub name of a T5, or a run folder of ours; none: from scratch
    size: Literal["nano", "small", "base"] = "small"  # of a backbone from scratch
    tokenizer: str | None = None  # a folder with tokenizer.json; none: the backbone's, or trained on the data set
    tokenizer_size: int = Field(4096, ge=64)  # of a tokenizer trained on the data set
    image_tokens: int = Field(2, ge=0)  # k; 0 = text only, that is P5
    dropout: float = Field(0.1, ge=0, lt=1)
    adapter: AdapterConfig = AdapterConfig()
    train_word_category: bool = True  # whole-word and category embeddings

    @model_validator(mode="after")
    def _backbone(self) -> "ModelPart":
        if self.backbone is None and self.adapter.mode != "full":
            raise ValueError(
                "adapters need a trained backbone, since frozen random weights learn nothing: give "
                "model.backbone=FOLDER, or train everything with model.adapter.mode=full"
            )
        return self


class CodesPart(CodeSettings):
    """How items and users are written."""

    users: Literal["text", "atomic"] = "text"  # by number and name, or as one new token each in place of both


class PromptsPart(_Part):
    """Which prompts, and how long."""

    extra: str | None = None  # a TOML file with prompts of one's own
    train: list[str] | None = Field(None, min_length=1)  # ids to train on; none: all that are not marked unseen
    max_input: int = Field(1024, ge=8)
    max_target: int = Field(64, ge=2)
    max_history: int = Field(50, ge=1)  # items; the most recent ones are kept


class SamplesPart(_Part):
    """Training samples for each user and epoch (the paper, section 4.1), and how they are drawn."""

    next: int = Field(5, ge=0)
    next_yes_no: int = Field(5, ge=0)
    yes_no: int = Field(5, ge=0)
    choice: int = Field(5, ge=0)
    explain: int = Field(1, ge=0)  # for each review
    candidates: int = Field(100, ge=2)  # of a choice, the right one among them
    last_positions: Literal["any"] | PositiveInt = 3  # a next-item target is one of the last n of the training part
    first_positions: int = Field(3, ge=1)  # a history starts at one of the first n


class OptimPart(_Part):
    """The optimiser, the schedule and the batches."""

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(144, ge=1)  # samples in a step
    batch_tokens: int = Field(65_536, ge=8)  # input tokens that go through the model at once, at most
    lr: float = Field(1e-3, gt=0)
    embedding_lr_factor: float = Field(1.0, gt=0)  # factor of the rate of embedding tables
    warmup: float = Field(0.1, ge=0, lt=1)  # share of the run
    clip: float = Field(5.0, gt=0)  # gradient norm
    weight_decay: float = Field(0.01, ge=0)
    recompute: bool = False  # compute each block again in the backward: the same result in less memory, but slower
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on a GPU that has it


class RunPart(_Part):
    """What is written along the way."""

    save_seconds: float = Field(60, ge=0)  # between two savings of the state to resume from
    validate_epochs: int = Field(0, ge=0)  # score the validation items every n epochs and keep the best; 0: never
    validate_users: int = Field(2000, ge=1)
    tensorboard: bool = False


class RunConfig(_Part):
    """Everything that, with a data set, decides what a run gives."""

    model: ModelPart = ModelPart.model_construct()
    codes: CodesPart = CodesPart()
    prompts: PromptsPart = PromptsPart()
    samples: SamplesPart = SamplesPart()
    optim: OptimPart = OptimPart()
    run: RunPart = RunPart()
    features: str | None = None  # name of the encoded features; none: the only ones there are
    seed: int = 0

    def space(self) -> Space:
        """What a search tries where these settings stand, those of the presets among it."""
        adapters: Space = {} if self.model.adapter.mode == "full" else {"model.adapter.reduction": Choice((4, 8, 16))}
        return {
            "optim.lr": Real(3e-4, 1e-2, log=True),
            "optim.embedding_lr_factor": Real(1.0, 30.0, log=True),
            "optim.weight_decay": Real(1e-3, 1e-1, log=True),
            "model.dropout": Real(0.0, 0.3),
            **adapters,
        }


def load_config(preset: str = "nano", file: str | Path | None = None, overrides: Sequence[str] = ()) -> RunConfig:
    """A preset, then a TOML file, then `a.b=value` overrides (values in TOML's spelling; bare words are strings)."""
    place = f"preset {preset}" if file is None else str(file)
    return configure(preset, read_settings(file, overrides), f"{place} and overrides")


def configure(preset: str, settings: Mapping[str, Any], place: str) -> RunConfig:
    """A preset, and nested settings over it; `place` is where they are from, for errors."""
    if preset not in PRESETS:
        raise UserError(f"unknown preset '{preset}': choose one of {', '.join(PRESETS)}")
    values = tomllib.loads(resources.files("vip5.training").joinpath(f"presets/{preset}.toml").read_text("utf-8"))
    try:
        return RunConfig.model_validate(merge(values, settings))
    except ValidationError as error:
        key, message, unknown = first_fault(error)
        if unknown:
            message = f"no such setting; there {'are' if '.' in key else 'is'} {_siblings(key)}"
        raise UserError(f"configuration ({place}): {key}: {message}") from None


def read_settings(file: str | Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Nested values of a TOML file, and `a.b=value` words over it."""
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(Path(file).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the configuration {file}: {error}") from None
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{file} is not valid TOML: {error}") from None
    return merge(values, read_overrides(overrides))


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Nested values from `a.b=value` words; UserError where one is none."""
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            raise UserError(f"'{override}' is not an override: write key=value, as in optim.lr=3e-4")
        value: Any = _value(text)
        values = merge(values, nested(key, value))
    return values


def nested(key: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for the key a.b."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _value(text: str) -> Any:
    if text == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values, those of `over` before those of `base`."""
    both = dict(base)
    for key, value in over.items():
        below = both.get(key)
        both[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return both


def _siblings(key: str) -> str:
    """The settings beside an unknown one."""
    kind: Any = RunConfig
    for part in key.split(".")[:-1]:
        kind = kind.model_fields[part].annotation
    return ", ".join(kind.model_fields)
