"""Photos: found inside the given folder only, and decoded once to see that they can be."""

import hashlib
import io
import os
import re
import unicodedata
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from PIL import Image
from rich.console import Console
from rich.progress import track

from vip5.data.schema import Input
from vip5.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 64_000_000
MAX_BYTES = 64 * 2**20
_NAMED = 5  # of the photos that are missing


@dataclass(frozen=True)
class Photos:
    """What the folder gives: for each item the photo's path relative to `root`, or None."""

    root: Path
    images: list[str | None]
    counts: dict[str, int]
    input: Input
    faults: list[str]  # one line for each photo that is broken or escapes, and for the first that are missing


def inside(root: Path, name: str) -> Path | None:
    """The file `name` (relative) under `root`, links followed; None when there is no such file or it lies outside."""
    try:
        path = Path(os.path.realpath(root / name))
        return path if path.is_relative_to(os.path.realpath(root)) and path.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a NUL
        return None


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
    files = _Files(root)
    found = [files.find(item, image) for item, image in zip(items, images, strict=True)]
    names = sorted({name for name, _ in found if name})
    with ThreadPoolExecutor() as pool, warnings.catch_warnings():
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
    if items and counts["photos_missing"] == len(items):
        raise UserError(f"no photo of any item in {root}: give the folder where files are named as the items are")
    missing = [(i, image) for i, image, f in zip(items, images, found, strict=True) if f == (None, None)]
    total = hashlib.sha256("".join(f"{name}\0{checked[name][1]}\n" for name in names).encode())
    faults = [f"photo of {item} escapes the folder ({f[1]})" for item, f in zip(items, found, strict=True) if f[1]]
    faults += [f"photo is broken ({root / name}: {fault})" for name, (_, _, fault) in checked.items() if fault]
    faults += [f"no photo of {item} ({image or 'no file is named so'})" for item, image in missing[:_NAMED]]
    if len(missing) > _NAMED:
        faults.append(f"no photo of {len(missing) - _NAMED} more items")
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


class _Files:
    """The photos in a folder and below it, and how tables may name them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        photos = []
        for folder, _, files in os.walk(root):
            base = os.path.relpath(folder, root)
            for file in files:
                stem, suffix = os.path.splitext(file)
                if suffix.lower() in SUFFIXES:
                    photos.append((SUFFIXES.index(suffix.lower()), os.path.normpath(os.path.join(base, file)), stem))
        photos.sort(reverse=True)  # so that the first of several stays: in the order of SUFFIXES, then of names
        self.by_stem = {stem: path for _, path, stem in photos}
        # As people would say it is the same: without case, composed letters or not.
        self.alike = {_plain(os.path.basename(path)): path for _, path, _ in photos}
        self.alike |= {_plain(path): path for _, path, _ in photos}
        self.alike_stem = {_plain(stem): path for _, path, stem in photos}

    def find(self, item: str, image: str | None) -> tuple[str | None, str | None]:
        """The photo's path relative to the folder, or None; and the name that was refused because it leads outside, or
        None."""
        names = self._names(image) if image else []
        if names is None:
            return None, image
        alike = [self.alike[key] for name in names if (key := _plain(name)) in self.alike]
        own = [self.by_stem.get(item), None if image else self.alike_stem.get(_plain(item))]
        names += [*alike, *(name for name in own if name)]
        for name in names:
            if inside(self.root, name):
                return name, None
        return None, next((name for name in names if os.path.isfile(self.root / name)), None)

    def _names(self, image: str) -> list[str] | None:
        """What a table may mean by `image`, the likeliest first; None where it leads outside."""
        image = _first(image)
        if "://" in image:
            last = PurePosixPath(urlsplit(image).path).name
            return list(dict.fromkeys([last, unquote(last)]))
        names: list[str] = []
        for written in dict.fromkeys([image, image.replace("\\", "/"), unquote(image)]):
            path = PurePosixPath(written)
            if path.is_absolute() or ".." in path.parts:
                return None
            names += [str(path), path.name]
        return list(dict.fromkeys(names))


def _first(image: str) -> str:
    """The first of several photos: of a list that is written as text, or of addresses one after the other."""
    text = image.strip()
    if text.startswith("["):
        found = re.search(r"""['"]([^'"]+)['"]""", text)
        return found[1] if found else text
    return re.split(r"[|,;\s]+(?=\w+://)", text)[0] if "://" in text else image


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", os.path.normpath(name)).casefold()


def _check(path: Path) -> tuple[int, str, str | None]:
    """Bytes, sha256, and what is wrong with a photo, if anything."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            return size, "", f"more than {MAX_BYTES // 2**20} MiB"
        data = path.read_bytes()
    except OSError as error:
        return 0, "", error.strerror or str(error)
    digest = hashlib.sha256(data).hexdigest()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as photo:
            if photo.width * photo.height > MAX_PIXELS:
                return size, digest, f"{photo.width} x {photo.height} pixels, more than {MAX_PIXELS // 10**6} million"
            photo.draft("RGB", (64, 64))  # a JPEG is read whole, and its pixels made at an eighth of the size
            photo.load()
    except Exception as error:  # what the decoders raise on damaged bytes is not documented
        return size, digest, (str(error).splitlines() or [type(error).__name__])[0]
    return size, digest, None
