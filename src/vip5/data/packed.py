"""What a file holds, unpacked where it is gzip: in a file on disk, so that its size is not its memory."""

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vip5.errors import UserError

_PART = 2**22  # bytes
_FREE, _RATIO = 2**30, 200  # a gzip may unpack to a GiB, or to so many times its own size


def is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b" or path.suffix.lower() == ".gz"


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A file with what `path` holds: itself, or for a gzip another one that is gone afterwards.

    Raises: UserError for a gzip that is damaged, cut short or of an absurd size; for a file that cannot be read.
    """
    try:
        if not is_gzip(path):
            yield path
            return
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check its permissions") from None
    with tempfile.TemporaryDirectory(prefix="vip5-") as folder:
        plain = Path(folder) / "plain"
        _unpack(path, plain)
        yield plain


def _unpack(path: Path, plain: Path) -> None:
    most, written = max(_FREE, _RATIO * path.stat().st_size), 0
    try:
        with gzip.open(path) as source, plain.open("wb") as out:
            while part := source.read(_PART):
                written += len(part)
                if written > most:
                    raise UserError(
                        f"{path} unpacks to more than {most >> 20:,} MiB: unpack it yourself if it is right"
                    )
                out.write(part)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"unreadable or truncated gzip ({path}: {error}): download it again") from None
    except OSError as error:
        place = plain if error.filename == str(plain) or error.filename is None else path
        raise UserError(f"cannot unpack {path} ({place}: {error.strerror}): make room, or check permissions") from None
