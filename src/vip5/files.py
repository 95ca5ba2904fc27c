"""Files that are whole or not there: written aside, flushed to the disk, renamed into place."""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from vip5.errors import UserError


@contextmanager
def disk_refusals(path: Path, remedy: str = "make room, or choose another place") -> Iterator[None]:
    """What the disk refuses while `path` is written, as a UserError with the remedy."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # Libraries in Rust (polars, safetensors, tokenizers) have errors of their own for it, with these words in them.
        if not isinstance(error, OSError) and "(os error" not in str(error):
            raise
        why = (error.strerror if isinstance(error, OSError) else None) or str(error).strip().rpartition(": ")[2]
        raise UserError(f"cannot write {path} ({why}): {remedy}") from None


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; what stands there takes the place of `path` when the block ends well.

    Folders above it are made. Raises: UserError where the disk refuses.
    """
    aside = path.with_name(f".{path.name}.tmp")
    with disk_refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            flush(aside)  # a rename may reach the disk before what was written
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def written_together(folder: Path, mark: str) -> Iterator[Path]:
    """A folder to write to; its files take the places of those in `folder`, all of them, when the block ends well.

    `mark` names the file that says they belong together: it goes first and comes last, so a kill never mixes old files
    and new ones. Raises: UserError where the disk refuses.
    """
    aside = folder / f".{mark}.partial"
    with disk_refusals(folder):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            yield aside
            (folder / mark).unlink(missing_ok=True)
            for file in sorted(aside.iterdir(), key=lambda file: file.name == mark):
                os.replace(file, folder / file.name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Find before long work, not after it, that a file cannot be written.

    Raises: UserError where its folder cannot be made or written into, or where a folder stands in its place.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the name of a file")
    with disk_refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass


def flush(path: Path) -> None:
    """Wait until a file is on the disk; of a folder nothing is done."""
    if path.is_file():
        with path.open("r+b") as written:  # Windows flushes only what is open for writing
            os.fsync(written.fileno())


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
