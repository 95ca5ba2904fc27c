"""Options that mean the same in every command, and how a command prints its result."""

import functools
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import annotated_types
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vip5.data.keywords import checked, default_of
from vip5.files import check_writable, to_json

T = TypeVar("T")

_MOST_OF_A_CELL = 300  # characters; a title may have thousands
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of everything random in this command.")]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps…; the best one at hand when not given.")
]
RecipeName = Literal["best", "paper", "prompts"]
Recipe = Annotated[
    RecipeName,
    typer.Option(
        help="best: what measures best; paper: the paper's own; prompts: the paper's prompts, in a small model."
    ),
]
Size = Annotated[
    Literal["nano", "small", "base"] | None,
    typer.Option(help="Of a model from scratch; the recipe's when not given (best: nano, paper: small, t5-small's)."),
]
AllowAgain = Annotated[
    bool | None,
    typer.Option(
        "--allow-again/--no-again",
        help="Whether what a person had before may come out; as is common in the data when not given.",
    ),
]
Int8 = Annotated[
    bool, typer.Option("--int8", help="Compute in 8-bit integers on a CPU: faster, scores a little coarser.")
]


def flat(command: Callable[..., None], **spelled: str) -> Callable[..., None]:
    """The command as Typer takes it: a parameter that is a pydantic model becomes an option for each of its fields.

    Types, choices, limits, defaults and help are those of the fields. A field that is True, or None and a bool, has a
    `--no-…` too; `spelled` names a field's option in another way, as allow_again="--again/--no-again". The command gets
    the model, checked; what does not fit is a UserError.
    """
    own = inspect.signature(command, eval_str=True)
    models = {name: p.annotation for name, p in own.parameters.items() if _is_model(p.annotation)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in own.parameters.items():
        if name in models:
            fields = models[name].model_fields.items()
            parameters += [_option(field, info, spelled.get(field)) for field, info in fields]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def filled(**given: Any) -> None:
        for name, model in models.items():
            given[name] = checked(model, {field: given.pop(field) for field in model.model_fields})
        command(**given)

    filled.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    filled.__annotations__ = {p.name: p.annotation for p in parameters}
    return filled


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _option(name: str, field: FieldInfo, spelled: str | None) -> inspect.Parameter:
    """A field as a parameter of Typer's."""
    limits: dict[str, Any] = {}
    for limit in field.metadata:
        limits |= {"min": limit.ge} if isinstance(limit, annotated_types.Ge) else {}
        limits |= {"max": limit.le} if isinstance(limit, annotated_types.Le) else {}
    flag = f"--{name.replace('_', '-')}"
    if spelled is None and field.annotation is bool and field.default is False:
        spelled = flag  # without --no-…, which would say nothing
    option = typer.Option(*([spelled] if spelled else []), help=field.description, **limits)
    annotation: Any = field.annotation
    if get_origin(annotation) is tuple:  # of any length, which Typer knows as a list
        annotation = list[get_args(annotation)[0]]  # type: ignore[misc]
    kind, default = inspect.Parameter.KEYWORD_ONLY, default_of(field)
    return inspect.Parameter(name, kind, default=default, annotation=Annotated[annotation, option])


def writable(file: T) -> T:
    """The value of an option that names a file to write: that it cannot be written is found before the work."""
    if file is not None and str(file) != "-":
        check_writable(Path(str(file)))
    return file


def print_json(value: Any) -> None:
    """Print `value` as one JSON object on standard output, in the characters that it can take."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    sys.stdout.write(to_json(value, indent=2, ensure_ascii=not unicode, default=str) + "\n")


def printable(text: str, most: int | None = None) -> str:
    """A text in one line of at most so many characters, without what would steer a terminal.

    Those are control characters, escape codes among them, and the marks that turn the direction of writing.
    """
    line = _STEERING.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    return line if most is None or len(line) <= most else line[: most - 1] + "…"


def print_table(title: str, columns: list[str], rows: list[list[Any]], note: str | None = None) -> None:
    """Print a table people can read: first column left, the others right-aligned."""
    table = Table(
        title=escape(printable(title)),
        title_justify="left",
        title_style="bold",
        caption=note and escape(note),
        caption_justify="left",
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*["" if cell is None else escape(printable(str(cell), _MOST_OF_A_CELL)) for cell in row])
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


def report(line: str) -> None:
    """Say on standard error what was decided or left out."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"note: {printable(line)}")
