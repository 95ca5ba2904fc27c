"""A run folder while something is trained in it: the names of its files, and who holds it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from vip5.errors import UserError

RUN_FILE = "run.json"  # the last one written: a folder that has it is finished
STATE_FILE, METRICS_FILE = "state.safetensors", "metrics.jsonl"


@contextlib.contextmanager
def run_folder(out: Path) -> Iterator[None]:
    """Hold the folder of a run that is to be trained, alone; the kernel lets go of it when we die.

    Raises: UserError where it cannot be made, holds something finished, or another process trains in it.
    """
    if (out / "manifest.json").is_file():
        raise UserError(f"{out} is a dataset folder: choose another --out")
    if (out / RUN_FILE).is_file():
        raise UserError(f"{out} holds a finished run: choose another --out, or remove it")
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"cannot write {out} ({error.strerror}): choose another --out") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process trains in {out}: wait for it to end, or choose another --out") from None
        yield
    finally:
        os.close(descriptor)
