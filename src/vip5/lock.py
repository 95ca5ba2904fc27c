"""One process at a time where something is written."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from vip5.errors import UserError


def lock_of(target: Path) -> Path:
    """The lock file that stands for a file or folder, beside it."""
    return target.with_name(f".{target.name}.lock")


@contextlib.contextmanager
def held(file: Path, busy: str) -> Iterator[None]:
    """Hold a lock file while the block runs; the kernel lets go of it when we die.

    It is removed at the end, while it is ours: who opened it in the meantime sees that it has gone, and makes it anew.

    Raises: UserError that says `busy` where another process holds it; OSError where it cannot be made.
    """
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(busy) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
        lock.release()
