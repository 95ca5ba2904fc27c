"""Photos: found inside the given folder only, and decoded once to see that they can be."""

import hashlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from rich.console import Console
from rich.progress import track

from vip5.data.photo_names import PhotoNames
from vip5.data.schema import Input
from vip5.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 64_000_000
MAX_BYTES = 64 * 2**20
THREADS = 4  # that read photos
_LARGE = 8_000_000  # pixels; of photos with more, one is decoded at a time, whatever the number of threads
_NAMED, _NAMED_BAD = 5, 20  # of the photos that are missing; of those that are broken or escape
_SHOWN = 80  # characters of what a table says of a photo
_one_large = threading.Lock()


@dataclass(frozen=True)
class Photos:
    """What the folder gives: for each item the photo's path relative to `root`, or None."""

    root: Path
    images: list[str | None]
    counts: dict[str, int]
    input: Input
    faults: list[str]  # a line for each of the first photos that are broken, escape or are missing, and how many more


@contextmanager
def opened(file: Path | BinaryIO, most: int) -> Iterator[Image.Image]:
    """A photo that is not decoded yet, for a block that decodes it: of large ones only one at a time.

    Raises: ValueError where it has more than `most` pixels, and whatever else Pillow raises: nearly anything.
    """
    with Image.open(file, formats=FORMATS) as photo:
        pixels = photo.width * photo.height
        if pixels > most:
            raise ValueError(f"{photo.width} x {photo.height} pixels, more than {most // 10**6} million")
        with _one_large if pixels > _LARGE else nullcontext():
            yield photo


def find_photos(root: str | Path, items: Sequence[str], images: Sequence[str | None], progress: bool = False) -> Photos:
    """The photo of each item: its `images` entry as a path or by file name, else a file named as the item.

    A photo that cannot be decoded, is past the limits of size or lies outside `root` is counted, and its item goes on
    without.

    Raises: UserError when `root` is no folder or holds no photo of any item.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"no folder of photos {root}: check --images")
    root = root.resolve()
    files = PhotoNames(root, items)
    found = [files.find(item, image) for item, image in zip(items, images, strict=True)]
    names = sorted({name for name, _ in found if name})
    with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # past MAX_PIXELS anyway
        checks = pool.map(lambda name: _check(root / name), names)
        bar = track(
            checks, "checking photos", len(names), console=Console(stderr=True), disable=not progress, transient=True
        )
        checked = dict(zip(names, bar, strict=True))
    good = {name for name, (_, _, fault) in checked.items() if fault is None}
    counts = {
        "photos": sum(name in good for name, _ in found),
        "photos_missing": sum(name is None and refused is None for name, refused in found),
        "photos_broken": sum(name is not None and name not in good for name, _ in found),
        "photos_escaping": sum(refused is not None for _, refused in found),
    }
    missing = [
        f"no photo of {item} ({_short(image) if image else 'no file is named so'})"
        for item, image, where in zip(items, images, found, strict=True)
        if where == (None, None)
    ]
    if items and len(missing) == len(items):
        remedy = "give the folder where files are named as the items are, or as their image column says"
        raise UserError(f"no photo of any item in {root} ({missing[0]}): {remedy}")
    total = hashlib.sha256("".join(f"{name}\0{checked[name][1]}\n" for name in names).encode())
    bad = [f"photo of {i} escapes the folder ({_short(f[1])})" for i, f in zip(items, found, strict=True) if f[1]]
    bad += [f"photo is broken ({root / name}: {fault})" for name, (_, _, fault) in checked.items() if fault]
    faults = bad[:_NAMED_BAD] + missing[:_NAMED]
    if (more := len(bad) - _NAMED_BAD) > 0:
        faults.insert(_NAMED_BAD, f"{more} more photos are broken or escape the folder")
    if (more := len(missing) - _NAMED) > 0:
        faults.append(f"no photo of {more} more items")
    return Photos(
        root,
        [name if name in good else None for name, _ in found],
        counts,
        Input(
            file=str(root),
            files=len(names),
            bytes=sum(size for size, _, _ in checked.values()),
            sha256=total.hexdigest(),
        ),
        faults,
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _check(path: Path) -> tuple[int, str, str | None]:
    """Bytes, sha256, and what is wrong with a photo, if anything."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            return size, "", f"more than {MAX_BYTES // 2**20} MiB"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            return size, digest, _fault(file)
    except OSError as error:
        return 0, "", error.strerror or str(error)


def _fault(file: BinaryIO) -> str | None:
    try:
        with opened(file, MAX_PIXELS) as photo:
            photo.draft("RGB", (64, 64))  # a JPEG is read whole, and its pixels made at an eighth of the size
            photo.load()
    except Exception as error:  # what the decoders raise on damaged bytes is not documented
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None
