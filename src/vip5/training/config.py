"""The configuration of a run: a recipe, a TOML file over it, dotted overrides over both. Unknown keys are errors."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from vip5.errors import UserError, first_fault
from vip5.model import Adapters, Full
from vip5.model.peft import Tuning
from vip5.predict.config import AnswerConfig, Taught
from vip5.space import Choice, Real, Space

RECIPES = ("best", "paper", "prompts")
EVERY = (
    "every"  # in place of a modality's name: each store of the data set, as far as no part of its own says otherwise
)
Size = Literal["nano", "small", "base"]
# Parts of which only one kind may stand: another kind begins with its own defaults.
_KINDS = {"peft": "method"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPart(_Part):
    """The backbone, and what is trained of VIP5's own tables."""

    backbone: str | None = None  # a folder or hub name of a T5, or a run folder of ours; none: from scratch
    size: Size = "nano"  # of a backbone from scratch
    tokenizer: str | None = None  # a folder with tokenizer.json; none: the backbone's, or trained on the data set
    tokenizer_size: int = Field(4096, ge=64)  # of a tokenizer trained on the data set
    dropout: float = Field(0.1, ge=0, lt=1)
    copy_words: bool = False  # sentences may take over words of their prompt; with histories in the decoder
    train_word_category: bool = True  # whole-word and category embeddings


class SamplesPart(Taught):
    """Training samples for each user and epoch (the paper, section 4.1), and how they are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # tasks: so many of each task. prompts, as the authors draw: as many as a family's two tasks have together, each of
    # a prompt drawn over all of the family's
    mix: Literal["tasks", "prompts"] = "tasks"
    candidates: int = Field(100, ge=2)  # of a choice, the right one among them
    last_positions: Literal["any"] | PositiveInt = 3  # a next-item target is one of the last n of the training part
    # Of samples of histories in the decoder (prompts.history):
    leave_out: float = Field(0.0, ge=0, lt=1)  # the share of a history's items that an epoch passes over
    shortest_history: int = Field(1, ge=1)  # items that a history shows at least
    first_positions: int = Field(3, ge=1)  # a history starts at one of the first n


class OptimPart(_Part):
    """The optimiser, the schedule and the batches."""

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(144, ge=1)  # samples in a step
    least_steps: int = Field(1, ge=1)  # of an epoch; one with too few samples for it has smaller batches
    batch_tokens: int = Field(65_536, ge=8)  # input tokens that go through the model at once, at most
    lr: float = Field(1e-3, gt=0)
    embedding_lr_factor: float = Field(1.0, gt=0)  # factor of the rate of embedding tables
    warmup: float = Field(0.1, ge=0, lt=1)  # share of the run
    decay: bool = True  # the rate falls to 0 along the run; else it stays where the warm-up took it
    averaging: float = Field(0.0, ge=0, lt=1)  # share of the mean of past weights that a step keeps; 0: no mean
    text_weight: float = Field(1.0, gt=0)  # of a sample whose target is text, beside one item of a history
    negatives: int | None = Field(None, ge=1)  # of the softmax over items, with histories in the decoder; none: all
    clip: float = Field(5.0, gt=0)  # gradient norm
    weight_decay: float = Field(0.01, ge=0)
    recompute: bool = False  # compute each block again in the backward: the same result in less memory, but slower
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on a GPU that has it


class RunPart(_Part):
    """What is written along the way."""

    save_seconds: float = Field(60, ge=0)  # between two savings of the state to resume from
    validate_epochs: int = Field(0, ge=0)  # score the validation items every n epochs and keep the best; 0: never
    validate_users: int = Field(2000, ge=1)
    patience: int | None = Field(None, ge=1)  # stop after so many validations without a better one; none: never
    tensorboard: bool = False


class RunConfig(AnswerConfig):
    """Everything that, with a data set, decides what a run gives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: Literal["best", "paper", "prompts"] = "best"
    model: ModelPart = ModelPart()
    peft: Tuning = Full()
    samples: SamplesPart = SamplesPart()
    optim: OptimPart = OptimPart()
    run: RunPart = RunPart()

    @model_validator(mode="after")
    def _backbone(self) -> "RunConfig":
        if self.model.backbone is None and not isinstance(self.peft, Full):
            raise ValueError(
                f"peft.method={self.peft.method} needs a trained backbone, since frozen random weights learn nothing: "
                "give model.backbone=FOLDER, or train everything with peft.method=full"
            )
        return self

    def on(self, stores: Sequence[str]) -> "RunConfig":
        """The same for a data set with these stores: `modalities.every` written out, and what is not used left out."""
        parts = dict(self.modalities)
        if (every := parts.pop(EVERY, None)) is not None:
            parts |= {name: every for name in stores if name not in parts}
        return self.model_copy(update={"modalities": {name: part for name, part in parts.items() if part.used}})

    def space(self) -> Space:
        """What a search tries where these settings stand, those of the recipes among it."""
        adapters: Space = {"peft.reduction": Choice((4, 8, 16))} if isinstance(self.peft, Adapters) else {}
        return {
            "optim.lr": Real(3e-4, 1e-2, log=True),
            "optim.embedding_lr_factor": Real(1.0, 30.0, log=True),
            "optim.weight_decay": Real(1e-3, 1e-1, log=True),
            "model.dropout": Real(0.0, 0.3),
            **adapters,
        }


def load_config(
    recipe: str = "best", file: str | Path | None = None, overrides: Sequence[str] = (), size: str | None = None
) -> RunConfig:
    """A recipe, then a TOML file, then `a.b=value` overrides (values in TOML's spelling; bare words are strings).

    size: the same as `model.size=…`.
    """
    place = f"recipe {recipe}" if file is None else str(file)
    given = [] if size is None else [f"model.size={size}"]
    return configure(recipe, read_settings(file, [*given, *overrides]), f"{place} and overrides")


def configure(recipe: str, settings: Mapping[str, Any], place: str) -> RunConfig:
    """A recipe, and nested settings over it; `place` is where they are from, for errors."""
    if recipe not in RECIPES:
        raise UserError(f"unknown recipe '{recipe}': choose one of {', '.join(RECIPES)}")
    values = tomllib.loads(resources.files("vip5.training").joinpath(f"recipes/{recipe}.toml").read_text("utf-8"))
    values = merge({**values, "recipe": recipe}, settings)
    values["modalities"] = _modalities(values.get("modalities", {}))
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        key, message, unknown = first_fault(error)
        if unknown:
            there = f"there {'are' if '.' in key else 'is'} {_siblings(key)}"
            meant = _of_that_name(key.rpartition(".")[2])
            message = f"no such setting; {f'did you mean {meant}?' if meant else there}"
        raise UserError(f"configuration ({place}): {f'{key}: ' if key else ''}{message}") from None


def _modalities(parts: Any) -> Any:
    """Parts by name; what one does not say, `every` says. None is a part that is not used."""
    if not isinstance(parts, Mapping):
        return parts  # which is refused as the others are
    unused = {"tokens": 0, "row": False, "score": False}
    if not isinstance(every := parts.get(EVERY), Mapping):
        return {name: part for name, part in parts.items() if part is not None}
    given = {name: unused if part is None else part for name, part in parts.items()}
    return {name: merge(every, part) if isinstance(part, Mapping) else part for name, part in given.items()}


def read_settings(file: str | Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Nested values of a TOML file, and `a.b=value` words over it. "none" in the file empties a setting."""
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = _emptied(tomllib.loads(Path(file).read_text("utf-8")))
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
        if key.startswith("-"):
            meant = _of_that_name(key.lstrip("-").replace("-", "_"))
            remedy = f"the setting is {meant}" if meant else "settings are written as in optim.lr=3e-4"
            raise UserError(f"no option {key} of this command: {remedy}")
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


def _emptied(values: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no null: "none" stands for it."""
    part = {key: _emptied(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: None if value == "none" else value for key, value in part.items()}


def _value(text: str) -> Any:
    if text == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values, those of `over` before those of `base`; a part of another kind replaces the one below it."""
    both = dict(base)
    for key, value in over.items():
        below = both.get(key)
        if not (isinstance(value, dict) and isinstance(below, dict)):
            both[key] = value
            continue
        kind = _KINDS.get(key, "")
        both[key] = value if value.get(kind, below.get(kind)) != below.get(kind) else merge(below, value)
    return both


def _of_that_name(name: str) -> str:
    """The settings of that name in other parts, with "or" between."""
    parts = RunConfig.model_fields.items()
    of_parts = [(part, field.annotation) for part, field in parts if hasattr(field.annotation, "model_fields")]
    return " or ".join(f"{part}.{name}" for part, kind in of_parts if name in kind.model_fields)  # type: ignore[union-attr]


def _siblings(key: str) -> str:
    """The settings beside an unknown one."""
    kind: Any = RunConfig
    for part in key.split(".")[:-1]:
        kind = (
            kind.model_fields[part].annotation if hasattr(kind, "model_fields") and part in kind.model_fields else None
        )
        if kind is None or not hasattr(kind, "model_fields"):
            break
    return ", ".join(kind.model_fields) if hasattr(kind, "model_fields") else "others of that part"
