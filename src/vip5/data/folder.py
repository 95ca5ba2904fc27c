"""A folder that is written whole or not at all: made beside its place, then renamed into it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vip5.errors import UserError
from vip5.files import disk_refusals, flush
from vip5.lock import held, lock_of


@contextlib.contextmanager
def new_folder(target: Path, overwrite: bool, mark: str) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends well and is gone when it does not.

    What a killed run left is cleared at the next start; a second run at the same time is refused. With `overwrite` an
    old folder is replaced, but only one that holds the file `mark`: nobody's other files are deleted.

    Raises: UserError when `target` exists already, another run is writing it, or the disk refuses.
    """
    target = Path(os.path.abspath(target))
    partial, old = (target.with_name(f".{target.name}.{name}") for name in ("partial", "old"))
    busy = f"another run is writing {target}: wait for it to end, or choose another folder"
    with disk_refusals(target, "make room, or choose another folder"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with held(lock_of(target), busy):
            if old.exists() and not target.exists():  # killed between the two renames below
                os.replace(old, target)
            shutil.rmtree(old, ignore_errors=True)
            _check(target, overwrite, mark)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                yield partial
                for path in partial.rglob("*"):
                    flush(path)  # a rename may reach the disk before what was written
                if target.exists() and any(target.iterdir()):
                    os.replace(target, old)
                os.replace(partial, target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _check(target: Path, overwrite: bool, mark: str) -> None:
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / mark).is_file():
        raise UserError(f"{target} exists and is not a folder of ours: choose another folder")
    if not overwrite:
        raise UserError(f"{target} exists already: choose another folder, or replace it with --overwrite")
