"""Photos come from inside the folder only; a bad one costs its item the photo and nothing else."""

import hashlib
import itertools
import os
import struct
import threading
import time
import unicodedata
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from vip5.data import photos as photos_module
from vip5.data.photo_names import inside
from vip5.data.photos import find_photos
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


def test_a_file_that_may_be_the_wrong_one_is_not_taken(tmp_path: Path) -> None:
    """Names that are only alike: in several folders, or of ids that differ in case alone."""
    root = tmp_path / "images"
    for name in ("one/front.jpg", "two/front.jpg", "hats/3.jpg", "deep/er/4.jpg", "5.jpg", "deep/5.jpg", "aB.jpg"):
        photo(root / name)
    named = {
        "https://x.test/one/front.jpg": "one/front.jpg",
        "TWO\\Front.jpg": "two/front.jpg",
        "https://x.test/three/front.jpg": None,
        "front.jpg": None,
        "shoes/3.jpg": None,
        "https://x.test/shoes/3.jpg?width=300#top": "hats/3.jpg",
        "//x.test/er/4.jpg": "deep/er/4.jpg",
        "C:\\shop\\er\\4.jpg": "deep/er/4.jpg",
        "/media/er/4.jpg": "deep/er/4.jpg",
        "../images/5.jpg": "5.jpg",
        "https://x.test/5.jpg": "5.jpg",
        "gone.jpg; 5.jpg": "5.jpg",
        """[{'thumb': 'https://x.test/gone.jpg', 'large': "https://x.test/4.jpg"}]""": "deep/er/4.jpg",
        "https://[x/4.jpg": "deep/er/4.jpg",
    }
    found = find_photos(root, [f"i{n}" for n in range(len(named))], list(named))
    assert dict(zip(named, found.images, strict=True)) == named
    assert found.counts["photos_missing"] == 3 and found.counts["photos_escaping"] == 0
    assert find_photos(root, ["Ab", "aB"], [None, None]).images == [None, "aB.jpg"]
    assert find_photos(root, ["Ab", "AB", "3"], [None] * 3).images == [None, None, "hats/3.jpg"]
    assert find_photos(root, ["ab"], [None]).images == ["aB.jpg"]


def test_a_file_name_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    photo(tmp_path / "good.jpg")
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    photo(tmp_path / os.fsdecode(b"caf\xe9") / "a.jpg")
    assert find_photos(tmp_path, ["a", "good"], ["café/a.jpg", None]).images == [None, "good.jpg"]


def test_missing_ones_are_named_beside_many_broken_ones(tmp_path: Path) -> None:
    for n in range(30):
        (tmp_path / f"{n}.jpg").write_bytes(b"")
    faults = find_photos(tmp_path, ["x", *map(str, range(30))], ["u" * 500 + ".jpg"] + [None] * 30).faults
    assert len(faults) == 22 and all("photo is broken" in fault for fault in faults[:20])
    assert faults[20:] == ["10 more photos are broken or escape the folder", f"no photo of x ({'u' * 80}…)"]


def test_of_large_photos_one_is_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that threads share a memory that is bounded, whatever the photos."""
    monkeypatch.setattr(photos_module, "_LARGE", 40 * 40)
    at_once, most = [0, 0], [0, 0]  # of small and of large ones
    load = ImageFile.ImageFile.load

    def slow(image: Image.Image) -> object:
        large = int(image.width * image.height > 40 * 40)
        with lock:
            at_once[large] += 1
            most[large] = max(most[large], at_once[large])
        time.sleep(0.02)
        with lock:
            at_once[large] -= 1
        return load(image)

    lock = threading.Lock()
    monkeypatch.setattr(ImageFile.ImageFile, "load", slow)
    for n, side in itertools.product(range(8), (40, 50)):
        photo(tmp_path / f"{side}-{n}.png", (side, side))
    items = [path.stem for path in tmp_path.iterdir()]
    assert find_photos(tmp_path, items, [None] * 16).counts["photos"] == 16
    assert most[1] == 1 and 1 < most[0] <= photos_module.THREADS
