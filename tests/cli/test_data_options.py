"""Options that a pydantic model gives a command, as they are typed."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from vip5.cli.options import flat
from vip5.errors import UserError


class Settings(BaseModel, extra="forbid"):
    rounds: int = Field(3, ge=1, le=5, description="How many rounds.")
    share: float | None = Field(None, gt=0, description="A share.")
    rule: Literal["keep", "drop"] = Field("keep", description="What is done.")
    places: list[str] = Field(default_factory=list, description="Where.")
    again: bool | None = Field(None, description="Whether again.")
    quiet: bool = Field(False, description="Say nothing.")
    warm: bool = Field(True, description="Keep warm.")
    folder: Path = Field(Path("x"), description="Where to.")


seen: list[Any] = []


def command(out: Annotated[Path, typer.Argument()], *, settings: Settings, top: int = 7) -> None:
    """Do it."""
    seen.append((out, settings, top))


def run(*words: str) -> Any:
    app = typer.Typer()
    app.command()(flat(command, again="--again/--not-again"))
    seen.clear()
    return CliRunner().invoke(app, list(words))


def test_fields_are_options() -> None:
    assert run("o").exit_code == 0 and seen == [(Path("o"), Settings(), 7)]
    words = "--rounds 5 --share 0.5 --rule drop --places a --places b --not-again --quiet --no-warm --folder f --top 1"
    assert run("o", *words.split()).exit_code == 0
    expected = Settings(
        rounds=5, share=0.5, rule="drop", places=["a", "b"], again=False, quiet=True, warm=False, folder=Path("f")
    )
    assert seen == [(Path("o"), expected, 1)]


@pytest.mark.parametrize(
    "words", ["--rounds 0", "--rounds 6", "--rule both", "--no-quiet", "--share x", "--settings 1"]
)
def test_what_does_not_fit_is_refused(words: str) -> None:
    assert run("o", *words.split()).exit_code == 2 and not seen


def test_limits_that_typer_does_not_have_are_the_models() -> None:
    assert isinstance(run("o", "--share", "0").exception, UserError)


def test_help_is_that_of_the_fields() -> None:
    shown = " ".join(run("--help").output.split())
    assert all(field.description in shown for field in Settings.model_fields.values()) and "keep|drop" in shown
