"""Options that stand once, as a pydantic model: its fields as keyword arguments of a function, and as a table."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from vip5.errors import UserError, first_fault

M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", bound=Callable[..., Any])


def checked(model: type[M], given: Mapping[str, Any]) -> M:
    """The model of these values; UserError for a name that it does not know, or a value that does not fit."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        where, what, unknown = first_fault(error)
        if unknown:
            raise UserError(f"unknown option {where!r}: the options are {', '.join(model.model_fields)}") from None
        raise UserError(f"{where}={given.get(where)!r} does not fit: {what[:1].lower()}{what[1:]}") from None


def takes(model: type[BaseModel]) -> Callable[[F], F]:
    """Show the fields of `model` as keyword arguments, with their descriptions, in place of a function's `**options`.

    The function itself hands what it is given to `checked`.
    """

    def decorate(function: F) -> F:
        own = inspect.signature(function)
        named = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        more = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default_of(field), annotation=field.annotation
            )
            for name, field in model.model_fields.items()
        ]
        lines = [f"    {name}: {field.description}" for name, field in model.model_fields.items()]
        function.__doc__ = inspect.cleandoc(function.__doc__ or "") + "\n\nOptions:\n" + "\n".join(lines)
        function.__signature__ = own.replace(parameters=[*named, *more])  # type: ignore[attr-defined]
        return function

    return decorate


def default_of(field: FieldInfo) -> Any:
    """What the field is when not given; `inspect.Parameter.empty` where it must be given."""
    return inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)


def options_table(model: type[BaseModel]) -> str:
    """The fields as a Markdown table of command line options: name, default, description with the choices."""
    rows = ["| option | default | says |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        default = default_of(field)
        shown = "" if default in (None, False, inspect.Parameter.empty) else f"`{default}`"
        choices = " or ".join(f"`{choice}`" for choice in _choices(field.annotation))
        text = (field.description or "") + (f" One of {choices}." if choices else "")
        rows.append(f"| `--{name.replace('_', '-')}` | {shown} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for part in get_args(annotation) for choice in _choices(part))
