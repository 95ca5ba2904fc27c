"""The one error that users see: a single clear line with what is wrong, where, and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(Exception):
    """Something the user can mend. The command line prints it as one line and exits with code 2.

    Write the message as "what is wrong (where: file, row, value): remedy".
    """


class Diverged(UserError):
    """A training whose loss or gradient is no finite number any more: of these settings, no fault of the data."""


def first_fault(error: ValidationError) -> tuple[str, str, bool]:
    """Of settings that do not fit: the dotted name of the first, what is wrong with it, whether there is none such."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return where, first["msg"].removeprefix("Value error, "), first["type"] == "extra_forbidden"
