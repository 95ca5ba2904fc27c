"""Files that are whole or not there: written aside, flushed to the disk, renamed into place."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vip5.errors import UserError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; what stands there takes the place of `path` when the block ends well.

    Folders above it are made. Raises: UserError where the disk refuses.
    """
    aside = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            with aside.open("rb") as written:
                os.fsync(written.fileno())  # a rename may reach the disk before what was written
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        what = error.strerror or str(error)
        raise UserError(f"cannot write {path} ({what}): make room, or choose another place") from None


def check_writable(path: Path) -> None:
    """Find out before long work, and not after it, that a file could not be written; UserError with the remedy."""
    with written_aside(path.with_name(f".{path.name}.test")) as aside:
        aside.touch()
    path.with_name(f".{path.name}.test").unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON for people to read, whole or not at all."""
    write_text(path, to_json(value, indent=2, ensure_ascii=False) + "\n")


def to_json(value: Any, **form: Any) -> str:
    """A value as JSON, which has no number for what is not finite: null stands there. `form` is of `json.dumps`."""
    try:
        return json.dumps(value, allow_nan=False, **form)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **form)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
