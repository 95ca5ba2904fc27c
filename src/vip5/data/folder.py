"""A folder that is written whole or not at all: made beside its place, then renamed into it."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vip5.errors import UserError


@contextlib.contextmanager
def new_folder(target: Path, overwrite: bool, mark: str) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends well and is gone when it does not.

    What a killed run left is cleared at the next start; a second run at the same time is refused. With `overwrite` an
    old folder is replaced, but only one that holds the file `mark`: nobody's other files are deleted.

    Raises: UserError when `target` exists already, another run is writing it, or the disk refuses.
    """
    target = Path(os.path.abspath(target))
    partial = target.with_name(f".{target.name}.partial")
    old = target.with_name(f".{target.name}.old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(partial, target)
        try:
            if old.exists() and not target.exists():  # killed between the two renames below
                os.replace(old, target)
            shutil.rmtree(old, ignore_errors=True)
            _check(target, overwrite, mark)
            _empty(partial)
            yield partial
            if target.exists() and any(target.iterdir()):
                os.replace(target, old)
            os.replace(partial, target)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            os.close(lock)
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror or error}): choose another folder") from error


def _lock(partial: Path, target: Path) -> int:
    """The file descriptor that holds the lock on `partial`, made where missing. The kernel frees it when we die."""
    while True:
        partial.mkdir(exist_ok=True)
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(f"another run is writing {target}: wait for it to end, or choose another folder") from None
        # Between open and lock another run may have renamed the folder into its place.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(partial)):
                return descriptor
        os.close(descriptor)


def _check(target: Path, overwrite: bool, mark: str) -> None:
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / mark).is_file():
        raise UserError(f"{target} exists and is not a folder of ours: choose another folder")
    if not overwrite:
        raise UserError(f"{target} exists already: choose another folder, or replace it with --overwrite")


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
