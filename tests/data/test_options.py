"""Options stand once: the model, what Python shows, and the table in the docs."""

import inspect
import pydoc
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from vip5.data import prepare, prepare_amazon
from vip5.data.keywords import checked, options_table, takes
from vip5.data.options import DatasetOptions, PrepareOptions
from vip5.errors import UserError

DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_docs_hold_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert f"\n\n{options_table(PrepareOptions)}\n\n" in text
    missing = PrepareOptions.model_fields.keys() - DatasetOptions.model_fields.keys()
    assert missing == {"date_format", "decimal", "encoding"}


@pytest.mark.parametrize(("function", "model"), [(prepare, PrepareOptions), (prepare_amazon, DatasetOptions)])
def test_python_shows_them(function: object, model: type[BaseModel]) -> None:
    shown = inspect.signature(function).parameters  # type: ignore[arg-type]
    for name, field in model.model_fields.items():
        assert shown[name].kind is inspect.Parameter.KEYWORD_ONLY and shown[name].default == field.default
        assert field.description and f"{name}: {field.description}" in pydoc.plain(pydoc.render_doc(function))
    assert "options" not in shown


class Small(BaseModel, extra="forbid"):
    times: int = Field(2, ge=1, description="How often.")
    rule: Literal["a", "b"] | None = Field(None, description="Which | one.")
    user_name: str = Field(description="Who.")
    again: bool = Field(False, description="Once more.")


def test_a_table_by_hand() -> None:
    assert options_table(Small).splitlines() == [
        "| option | default | says |",
        "|---|---|---|",
        "| `--times` | `2` | How often. |",
        "| `--rule` |  | Which \\| one. One of `a` or `b`. |",
        "| `--user-name` |  | Who. |",
        "| `--again` |  | Once more. |",
    ]


def test_keywords_are_checked() -> None:
    @takes(Small)
    def run(first: int, **options: object) -> Small:
        """Run."""
        return checked(Small, options)

    assert run(1, user_name="x", times=3) == Small(user_name="x", times=3)
    assert list(inspect.signature(run).parameters) == ["first", *Small.model_fields]
    for given, said in (
        ({"user_name": "x", "time": 1}, "unknown option 'time': the options are times, rule, user_name, again"),
        ({"user_name": "x", "times": 0}, "times=0 does not fit: input should be greater than or equal to 1"),
        ({}, "user_name=None does not fit: field required"),
    ):
        with pytest.raises(UserError) as caught:
            run(1, **given)
        assert str(caught.value) == said
