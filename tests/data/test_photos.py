"""Photos come from inside the folder only; a bad one costs its item the photo and nothing else."""

import hashlib
import os
import struct
import unicodedata
import zlib
from pathlib import Path

import pytest
from PIL import Image

from vip5.data.photos import find_photos, inside
from vip5.errors import UserError


def photo(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize(size).convert("RGB").save(path)
    return path


def bomb(path: Path, side: int = 60_000) -> None:
    """A PNG of some hundred bytes that says it has side x side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 10_000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def test_found_by_path_by_name_and_by_item(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for name in ("1.jpg", "sub/2.png", "3.JPG", "3.png", "deep/er/4.webp", "x5.jpeg", "notes.txt"):
        photo(root / name) if not name.endswith("txt") else (root / name).write_text("no photo")
    items = ["1", "2", "3", "4", "5", "6", "notes", "url"]
    images = ["images/1.jpg", "sub/2.png", None, None, "x5.jpeg", "gone.jpg", None, "http://shop.test/i/x5.jpeg?s=2"]
    photos = find_photos(root, items, images)
    assert photos.images == ["1.jpg", "sub/2.png", "3.JPG", "deep/er/4.webp", "x5.jpeg", None, None, "x5.jpeg"]
    assert photos.counts == {"photos": 6, "photos_missing": 2, "photos_broken": 0, "photos_escaping": 0}
    files = {name: (root / name).read_bytes() for name in sorted(filter(None, set(photos.images)))}
    listing = "".join(f"{name}\0{hashlib.sha256(data).hexdigest()}\n" for name, data in files.items())
    assert photos.input.sha256 == hashlib.sha256(listing.encode()).hexdigest()
    assert (photos.input.files, photos.input.bytes) == (5, sum(map(len, files.values())))


def test_names_as_people_write_them(tmp_path: Path) -> None:
    """A path of Windows, a list of addresses, percent signs, composed letters for decomposed ones, another case."""
    root = tmp_path / "images"
    decomposed = unicodedata.normalize("NFD", "café.png")
    for name in (
        "sub/win.png",
        "list.png",
        "red shoe.png",
        decomposed,
        "Große.JPG",
        "A7.jpg",
        "exact.png",
        "EXACT.png",
    ):
        photo(root / name)
    named = {
        "sub\\win.png": "sub/win.png",
        "C:\\shop\\list.png": "list.png",
        "['https://x.test/list.png', 'https://x.test/b.png']": "list.png",
        '["https://x.test/a/list.png"]': "list.png",
        "https://x.test/list.png|https://x.test/b.png": "list.png",
        "https://x.test/list.png, https://x.test/b.png": "list.png",
        "https://x.test/red%20shoe.png": "red shoe.png",
        "red%20shoe.png": "red shoe.png",
        "café.png": decomposed,
        "große.jpg": "Große.JPG",
        "exact.png": "exact.png",
        "EXACT.png": "EXACT.png",
    }
    found = find_photos(root, [f"i{n}" for n in range(len(named))], list(named))
    assert found.images == list(named.values()) and found.faults == []
    assert find_photos(root, ["a7"], [None]).images == ["A7.jpg"]
    assert find_photos(root, ["q", "exact"], ["%2e%2e/secret.png", None]).counts["photos_escaping"] == 1


def test_the_first_missing_ones_are_named(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "0.jpg")
    found = find_photos(tmp_path / "images", [f"{n}" for n in range(8)], [None] * 7 + ["gone.jpg"])
    assert found.faults == [f"no photo of {n} (no file is named so)" for n in range(1, 6)] + [
        "no photo of 2 more items"
    ]


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    root = tmp_path / "images"
    photo(root / "good.jpg")
    secret = photo(tmp_path / "secret.jpg")
    photo(tmp_path / "images2" / "near.jpg")
    (root / "link.jpg").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path / "images2")
    (root / "fine.jpg").symlink_to(root / "good.jpg")
    images = [
        "../secret.jpg",
        str(secret),
        "link.jpg",
        "folder/near.jpg",
        "sub/../../secret.jpg",
        "fine.jpg",
        "good.jpg",
    ]
    photos = find_photos(root, [f"i{n}" for n in range(7)], images)
    assert photos.images == [None] * 5 + ["fine.jpg", "good.jpg"]
    assert photos.counts == {"photos": 2, "photos_missing": 0, "photos_broken": 0, "photos_escaping": 5}
    assert len(photos.faults) == 5 and "photo of i0 escapes the folder (../secret.jpg)" in photos.faults
    for name in ("../secret.jpg", str(secret), "link.jpg", "folder/near.jpg", "a\0b", "x" * 5000, "."):
        assert inside(root, name) is None
    assert inside(root, "fine.jpg") == root / "good.jpg"


def test_an_item_named_like_a_path_does_not_escape(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "good.jpg")
    photo(tmp_path / "secret.jpg")
    photos = find_photos(
        tmp_path / "images", ["../secret", "good", "a\0b", "y" * 300], [None, None, "a\0b", "z" * 5000]
    )
    assert photos.images == [None, "good.jpg", None, None]


def test_broken_photos_are_counted_and_named(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    whole = photo(tmp_path / "good.jpg", (400, 300)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("<svg/>")
    (tmp_path / "noise.webp").write_bytes(b"RIFF" + os.urandom(200))
    (tmp_path / "page.jpg").write_text("%!PS-Adobe-3.0\n%%BoundingBox: 0 0 9 9\n")  # no formats that run programs
    bomb(tmp_path / "bomb.png")
    items = ["good", "cut", "empty", "text", "noise", "page", "bomb"]
    photos = find_photos(tmp_path, items, [None] * 7)
    assert photos.images == ["good.jpg"] + [None] * 6
    assert photos.counts == {"photos": 1, "photos_missing": 0, "photos_broken": 6, "photos_escaping": 0}
    assert len(photos.faults) == 6 and all("photo is broken" in fault and "\n" not in fault for fault in photos.faults)
    assert not [w for w in recwarn if "Decompression" in str(w.category)]


def test_a_wrong_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder of photos"):
        find_photos(tmp_path / "gone", ["a"], [None])
    with pytest.raises(UserError, match="no photo of any item in"):
        find_photos(tmp_path, ["a"], [None])
