"""A run folder while something is written into it: the names of its files, and who holds it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vip5.errors import UserError
from vip5.lock import held

RUN_FILE = "run.json"  # the last one written: a folder that has it is finished
STATE_FILE, METRICS_FILE = "state.safetensors", "metrics.jsonl"
LOCK_FILE = ".lock"


@contextlib.contextmanager
def run_folder(out: Path) -> Iterator[None]:
    """Hold the folder of a run that is to be trained, alone; the kernel lets go of it when we die.

    Raises: UserError where it cannot be made, holds something finished, or another process trains in it.
    """
    if (out / "manifest.json").is_file():
        raise UserError(f"{out} is a dataset folder: choose another --out")
    if (out / RUN_FILE).is_file():
        raise UserError(f"{out} holds a finished run: choose another --out, or remove it")
    with _held(out, f"another process trains in {out}: wait for it to end, or choose another --out", "another --out"):
        yield


@contextlib.contextmanager
def finished_run(folder: Path) -> Iterator[None]:
    """Hold a run that is evaluated, so that what two evaluations write is not mixed.

    Raises: UserError where another process evaluates it, or nothing can be written there.
    """
    busy = f"another process evaluates {folder}: wait for it to end"
    with _held(folder, busy, "a folder that may be written, or copy the run"):
        yield


@contextlib.contextmanager
def saved_state(file: Path) -> Iterator[tuple[safe_open, dict[str, Any]]]:
    """The tensors of a state to go on from, and what is said about it; UserError where the file is damaged."""
    try:
        with safe_open(file, "pt") as stored:
            yield stored, json.loads((stored.metadata() or {}).get("about", "{}"))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        remedy = f"remove the folder {file.parent} to train from the start"
        raise UserError(f"{file} is damaged ({reason}): {remedy}") from None


@contextlib.contextmanager
def _held(folder: Path, busy: str, remedy: str) -> Iterator[None]:
    there = folder.is_dir()
    with contextlib.ExitStack() as stack:
        if not there:
            stack.callback(_remove_if_empty, folder)  # what is refused leaves nothing
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(folder / LOCK_FILE, busy))
        except OSError as error:
            raise UserError(f"cannot write {folder} ({error.strerror or error}): choose {remedy}") from None
        yield


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
