"""Photos of any mode, size and state, under any name: as Pillow converts them, or counted as broken."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
from fuzz import damaged
from PIL import Image

from vip5.data.photos import find_photos
from vip5.modalities.basic import BasicEncoder
from vip5.modalities.photos import read_photo

MODES = ("RGB", "RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "F", "HSV", "LAB", "PA", "RGBX")
FORMS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "PPM": ".ppm"}


def photos(rng: random.Random, place: Path) -> None:
    folder = place / "photos"
    folder.mkdir()
    items = [f"i{n}" for n in range(rng.randint(1, 3))]
    images: list[str | None] = []
    for item in items:
        data, suffix = picture(rng)
        if rng.random() < 0.4:
            data = damaged(rng, data)
        if rng.random() < 0.1:
            suffix = rng.choice(tuple(FORMS.values()))  # a wrong one
        name = f"{item}{suffix.upper() if rng.random() < 0.2 else suffix}"
        if rng.random() < 0.95:
            (folder / name).write_bytes(data)
        odd = (
            None,
            "",
            "../secret.png",
            "/etc/passwd",
            f"a\0{name}",
            "x" * 300,
            "https://shop/x?%ff",
            "C:\\a\\" + name,
            "[",
        )
        images.append(name if rng.random() < 0.7 else rng.choice(odd))
    found = find_photos(folder, items, images)
    told = sum(found.counts[kind] for kind in ("photos", "photos_missing", "photos_broken", "photos_escaping"))
    assert told == len(items), f"{found.counts} of {len(items)}"
    assert all("\n" not in line for line in found.faults), found.faults
    for name in filter(None, found.images):
        seen = read_photo(found.root / name)
        assert seen is not None, f"{name} was found to be sound, and cannot be read"
        assert seen.mode == "RGB"
        vector = BasicEncoder().encode(BasicEncoder().prepare(seen)[None])
        assert np.isfinite(vector).all(), "numbers that are not finite"
        _compare(found.root / name, seen)


def _compare(path: Path, seen: Image.Image) -> None:
    """By Pillow's own conversion, where it loses nothing."""
    with Image.open(path) as photo:
        photo.load()
        if "transparency" in photo.info or photo.getexif():
            return  # made white, turned upright
        if photo.mode in ("RGB", "L", "1", "CMYK"):
            assert np.array_equal(np.asarray(seen), np.asarray(photo.convert("RGB"))), f"other pixels ({photo.mode})"
        if photo.mode.startswith("I;16"):
            deep = np.asarray(photo).astype(float) / 257
            assert np.abs(np.asarray(seen)[..., 0] - deep).max() <= 1, "16 bits were not scaled"


def picture(rng: random.Random) -> tuple[bytes, str]:
    """The bytes of a photo, and the suffix of its format."""
    if rng.random() < 0.08:
        return _huge(rng), ".png"
    mode, form = rng.choice(MODES), rng.choice(tuple(FORMS))
    size = rng.choice(((1, 1), (1, 400), (64, 64), (33, 7), (200, 150)))
    noise = np.random.default_rng(rng.getrandbits(32))
    if mode == "I;16":
        image = Image.fromarray(noise.integers(0, 2**16, size[::-1], dtype=np.uint16))
    else:
        image = Image.fromarray(noise.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
        try:
            image = image.convert(mode)
        except ValueError:
            image = image.convert("L")
    options: dict[str, object] = {}
    if rng.random() < 0.2:
        exif = Image.Exif()
        exif[0x0112] = rng.choice((0, 1, 3, 6, 8, 99))  # how it was held
        options["exif"] = exif
    if rng.random() < 0.1 and form in ("PNG", "GIF"):
        options["transparency"] = 0
    if rng.random() < 0.15 and form in ("GIF", "PNG", "WEBP"):
        options |= {"save_all": True, "append_images": [image, image]}
    out = io.BytesIO()
    try:
        image.save(out, form, **options)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, SystemError):  # a format has not every mode
        out = io.BytesIO()
        image.convert("RGB").save(out, "PNG")
        form = "PNG"
    return out.getvalue(), FORMS[form]


def _huge(rng: random.Random) -> bytes:
    """A PNG whose header tells of more pixels than there are."""
    width, height = rng.choice(
        ((60_000, 60_000), (2**31 - 1, 1), (0, 0), (8_000, 8_001), (1, 2**31 - 1), (20_000, 20_000))
    )
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, rng.choice((1, 8, 16)), rng.choice((0, 2, 6)), 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(rng.randint(0, 100_000)))),
        (b"IEND", b""),
    ]
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
