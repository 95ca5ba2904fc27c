"""The prompts: read from a data file, checked, and cut into literal text and fields."""

import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vip5.errors import UserError, first_fault

Task = Literal["next", "next_yes_no", "yes_no", "choice", "explain"]
TASKS: tuple[Task, ...] = get_args(Task)

LIST_FIELDS = {"purchase_history": "history", "candidates": "candidates"}  # and the column of samples that fills it
WORD_FIELDS = (
    "user_id",
    "user_desc",
    "item_id",
    "item_title",
    "star_rating",
    "review_headline",
    "feature",
    "explanation",
    "yes_no",
)
FIELDS = (*WORD_FIELDS, *LIST_FIELDS, "item_content")

_FIELD = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Slot:
    """A piece of a prompt: literal text (field ""), or a field with what is joined to it inside its word.

    "user_{user_id}" is Slot("user_id", "user_", ""); "{user_desc}," is Slot("user_desc", "", ",").
    """

    field: str
    prefix: str = ""
    suffix: str = ""
    text: str = ""


class Prompt(BaseModel):
    """One template; see templates.toml for what the keys mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    task: Task
    input: str = Field(min_length=1)
    target: str = Field(min_length=1)
    unseen: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Prompt":
        inputs = {slot.field for slot in cut(self.input)}
        targets = {slot.field for slot in cut(self.target)}
        if "purchase_history" in inputs and self.task not in ("next", "next_yes_no", "choice"):
            raise ValueError(f"task {self.task} has no purchase_history")
        if "candidates" in inputs and self.task != "choice":
            raise ValueError(f"task {self.task} has no candidates")
        if "candidates" not in inputs and self.task == "choice":
            raise ValueError("the input of task choice must hold {candidates}")
        answer = {"next": "item_id", "choice": "item_id", "explain": "explanation"}.get(self.task, "yes_no")
        if answer not in targets:
            raise ValueError(f"the target of task {self.task} must hold {{{answer}}}")
        if answer in inputs or (self.task in ("next", "choice") and inputs & {"item_title", "item_content"}):
            raise ValueError("the input gives the answer away")
        if targets & {"purchase_history", "candidates", "item_content"}:
            raise ValueError("a target holds words only")
        return self

    @property
    def needs(self) -> set[str]:
        """The fields that input and target use."""
        return {slot.field for slot in (*cut(self.input), *cut(self.target)) if slot.field}


def cut(text: str) -> list[Slot]:
    """Cut a template into slots at white space; neighbouring literal words make one slot."""
    slots: list[Slot] = []
    for word in text.split():
        names = _FIELD.findall(word)
        if not names:
            if slots and not slots[-1].field:
                slots[-1] = Slot("", text=f"{slots[-1].text} {word}")
            else:
                slots.append(Slot("", text=word))
            continue
        if len(names) > 1:
            raise ValueError(f"'{word}' holds two fields: put a space between them")
        name = names[0]
        if name not in FIELDS:
            raise ValueError(f"unknown field {{{name}}}: the fields are {', '.join(FIELDS)}")
        prefix, suffix = _FIELD.split(word)[::2]
        if (prefix or suffix) and name not in WORD_FIELDS:
            raise ValueError(f"'{word}': put spaces around {{{name}}}")
        slots.append(Slot(name, prefix, suffix))
    return slots


def load_prompts(extra: str | Path | None = None) -> dict[str, Prompt]:
    """The 29 prompts, and those of a file of the user's own; ids must be distinct."""
    prompts = _read(resources.files("vip5.prompts").joinpath("templates.toml").read_text("utf-8"), "templates.toml")
    if extra is not None:
        try:
            own = _read(Path(extra).read_text("utf-8"), str(extra))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the prompts in {extra}: {error}") from None
        for name in own:
            if name in prompts:
                raise UserError(f"prompt {name} in {extra} has the id of a built-in prompt: give it another id")
        prompts |= own
    return prompts


def _read(text: str, place: str) -> dict[str, Prompt]:
    try:
        tables = tomllib.loads(text).get("prompt", [])
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{place} is not valid TOML: {error}") from None
    prompts: dict[str, Prompt] = {}
    for number, table in enumerate(tables, 1):
        name = table.get("id", f"number {number}") if isinstance(table, dict) else f"number {number}"
        try:
            prompt = Prompt.model_validate(table)
        except ValidationError as error:
            where, what, _ = first_fault(error)
            raise UserError(f"prompt {name} in {place}: {where or 'template'}: {what}") from None
        if prompt.id in prompts:
            raise UserError(f"prompt {name} stands twice in {place}")
        prompts[prompt.id] = prompt
    return prompts
