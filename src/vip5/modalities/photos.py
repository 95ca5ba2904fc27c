"""A dataset's photos as inputs of an encoder: files told apart by their content, opened within limits."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vip5.data import Dataset
from vip5.data.photos import MAX_BYTES, MAX_PIXELS, THREADS, opened
from vip5.errors import UserError
from vip5.modalities.job import progress_bar

_BYTE_OF = ((np.arange(2**16) + 128) // 257).astype(np.uint8)  # of each 16-bit value

Photos = list[tuple[int, Path]]  # item and the file of its photo


def photos_of(dataset: Dataset) -> Photos:
    """All photos of the items of `dataset`.

    Raises: UserError where there are none.
    """
    photos = [(item, path) for item in range(dataset.n_items) if (path := dataset.photo_path(item)) is not None]
    if not photos:
        raise UserError(f"{dataset.path} has no photos: prepare it with --images and an image column in the items")
    return photos


def hash_of_photos(photos: Photos, progress: bool = False) -> str:
    """Hash of which items have a photo and of the photos' bytes: a photo that was replaced is another one."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(THREADS) as pool, progress_bar(progress) as bar:
        found = pool.map(_hash_of_file, (path for _, path in photos))
        for (item, _), one in zip(photos, bar.track(found, len(photos), description="reading photos"), strict=True):
            digest.update(f"{item}:{one};".encode())
    return digest.hexdigest()


def read_photo(path: Path, side: int | None = None) -> Image.Image | None:
    """A photo as RGB, upright, transparent parts white, 16 bits a pixel scaled to 8.

    With `side` a JPEG may be decoded smaller, but no side below that. None for a photo that cannot be decoded, or is
    past the limits of bytes or pixels.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        with opened(path, MAX_PIXELS) as photo:
            if side is not None:
                photo.draft("RGB", (side, side))
            return _in_rgb(ImageOps.exif_transpose(photo))
    except Exception:  # Pillow's readers raise nearly anything on a damaged file
        return None


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion cuts at 255
        pixels, clear = np.asarray(image), image.info.get("transparency")
        image = Image.fromarray(_BYTE_OF.take(pixels, mode="clip"))
        if clear is not None:
            image.paste(255, mask=Image.fromarray(pixels == clear))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _hash_of_file(path: Path) -> str:
    """sha256 of a file's bytes; of one that is too large, its size; of one that cannot be read, nothing."""
    try:
        if (size := os.stat(path).st_size) > MAX_BYTES:
            return f"{size} bytes"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
