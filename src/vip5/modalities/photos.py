"""A dataset's photos as inputs of an encoder: files told apart by their content, opened within limits."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vip5.data import Dataset
from vip5.data.photos import FORMATS, MAX_BYTES, MAX_PIXELS
from vip5.errors import UserError
from vip5.modalities.job import THREADS, progress_bar

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


def read_photo(path: Path) -> Image.Image | None:
    """A photo as RGB, upright, transparent parts white, 16 bits a pixel scaled to 8.

    None for one that cannot be decoded, or is past the limits of bytes or pixels.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        with Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                return None
            return _in_rgb(ImageOps.exif_transpose(file))
    except Exception:  # Pillow's readers raise nearly anything on a damaged file
        return None


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion cuts at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _hash_of_file(path: Path) -> str:
    """sha256 of a file's bytes; of one that is too large, its size; of one that cannot be read, nothing."""
    try:
        if (size := os.stat(path).st_size) > MAX_BYTES:
            return f"{size} bytes"
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
