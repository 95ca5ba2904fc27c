"""Names of photos: what a table says, and the file in a folder that it means."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")  # of files that are named as an item
_NAMEABLE = (*SUFFIXES, ".gif", ".bmp")  # of files that a table may name


def inside(root: Path, name: str) -> Path | None:
    """The file `name` (relative) under `root`, links followed; None when there is no such file or it lies outside."""
    try:
        path = Path(os.path.realpath(root / name))
        return path if path.is_relative_to(os.path.realpath(root)) and path.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a NUL
        return None


class PhotoNames:
    """The photos in a folder and below it, to be found by the names that people give them.

    A name as it is written goes first. Then names are alike without case, percent signs, the separators of Windows, and
    whether letters are composed or not. Of several files that are alike none is taken: it may be the wrong one.
    """

    def __init__(self, root: Path, items: Sequence[str]) -> None:
        """`items` are all ids that `find` is asked for."""
        self.root = root
        stems = []
        self._by_name = defaultdict[str, list[str]](list)  # by the last part of its plain path
        for path in _files(root):
            stem, suffix = os.path.splitext(os.path.basename(path))
            if suffix.lower() in SUFFIXES:
                stems.append((SUFFIXES.index(suffix.lower()), path, stem))
            if suffix.lower() in _NAMEABLE:
                self._by_name[_parts(path)[-1]].append(path)
        # Of several files named as one item the first counts: in the order of SUFFIXES, then of names.
        self._by_stem = {stem: path for _, path, stem in sorted(stems, reverse=True)}
        # Ids may differ in case alone, so that a file that is named as one item is no other one's.
        exact, plain = set(items), Counter(map(_plain, items))
        self._alike_stem: dict[str, str | None] = {}
        for stem, path in self._by_stem.items():
            if stem not in exact and plain[key := _plain(stem)] == 1:
                self._alike_stem[key] = None if key in self._alike_stem else path

    def find(self, item: str, image: str | None) -> tuple[str | None, str | None]:
        """The photo's path relative to the folder, or None; and what was refused because it leads outside, or None."""
        refused = None
        for name in self._candidates(item, image):
            if name is None:
                return None, image
            if inside(self.root, name):
                return name, None
            refused = refused or (name if _is_file(self.root, name) else None)
        return None, refused

    def _candidates(self, item: str, image: str | None) -> Iterator[str | None]:
        """Files that may be meant, the likeliest first; None where the table leads outside, and nothing else is to be
        tried."""
        outside = False
        for written in _several(image) if image else ():
            slashed = written.replace("\\", "/")
            address = re.match(r"(?:\w{2,}:)?//", slashed) is not None
            path = re.sub(r"^(?:\w+:)?//[^/]*|[?#].*$", "", slashed) if address else slashed
            parts = _parts(path)
            leads_out = not address and (path.startswith("/") or ".." in parts)
            outside |= leads_out
            if not address and not leads_out:
                yield from dict.fromkeys([written, slashed])
            if alike := self._alike(path, parts, address):
                yield alike
        if outside:
            yield None
        if item in self._by_stem:
            yield self._by_stem[item]
        elif not image and (alike := self._alike_stem.get(_plain(item))):
            yield alike

    def _alike(self, path: str, parts: list[str], address: bool) -> str | None:
        """The one file that ends most like `path`, whose plain parts are `parts`.

        The folders of an address are none of ours; those of another path are, unless the file lies at the top.
        """
        ranked = []
        for file in self._by_name.get(parts[-1], ()):
            alike = _common_end(_parts(file), parts)
            if address or alike > 1 or len(parts) == 1 or "/" not in file:
                ranked.append((alike, _common_end(file.split("/"), path.split("/")), "/" not in file, file))
        ranked.sort(reverse=True)
        return None if not ranked or [r[:3] for r in ranked[:1]] == [r[:3] for r in ranked[1:2]] else ranked[0][3]


def _files(root: Path) -> Iterator[str]:
    """Paths below `root`, but those that are no text: no table can hold them."""
    for folder, _, files in os.walk(root):
        base = os.path.relpath(folder, root)
        for file in files:
            path = os.path.normpath(os.path.join(base, file))
            if path.encode("utf-8", "ignore").decode() == path:
                yield path


def _is_file(root: Path, name: str) -> bool:
    try:
        return os.path.isfile(root / name)
    except ValueError:
        return False


def _several(image: str) -> list[str]:
    """The photos that a cell names: of a list that is written as text, or of names one after the other."""
    text = image.strip()
    if text.startswith("["):
        return [match[2] for match in re.finditer(r"""(['"])(.+?)\1\s*(?=[,\]}])""", text)] or [image]
    if "://" in text:
        return re.split(r"[|,;\s]+(?=\w+://)", text)
    parts = [part for part in re.split(r"\s*[|;,]\s*", text) if part]
    return [image, *parts] if len(parts) > 1 else [image]


def _plain(name: str) -> str:
    """A name or a path such that those are equal that people take for the same."""
    text = unicodedata.normalize("NFC", unquote(name)).casefold()
    return unicodedata.normalize("NFC", os.path.normpath(text.replace("\\", "/")))


def _parts(path: str) -> list[str]:
    return _plain(path).split("/")


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths have in common, from the end."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
