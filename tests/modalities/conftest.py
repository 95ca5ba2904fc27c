"""A dataset as the modalities room sees it, and an encoder that is quick and exact."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image


@dataclass
class FakeDataset:
    """What encoding needs of a dataset: a folder, a hash, photos, and what is written of the items."""

    path: Path
    photos: list[Path | None]
    hash: str = "tables"

    @property
    def n_items(self) -> int:
        return len(self.photos)

    @property
    def items(self) -> pl.DataFrame:
        """Item 1 has no brand, item 2 nothing but its id, item 3 no title."""
        n = self.n_items
        return pl.DataFrame(
            {
                "item": [f"i{row}" for row in range(n)],
                "title": [None if row in (2, 3) else f"Lip balm  {row}" for row in range(n)],
                "brand": [None if row in (1, 2) else "Beauty & Co" for row in range(n)],
                "categories": [None if row == 2 else ["Lips", "Care"][: row % 3] for row in range(n)],
                "description": [None] * n,
            },
            schema_overrides={"description": pl.String},
        )

    def photo_path(self, item: int) -> Path | None:
        return self.photos[item]


@dataclass
class MeanColour:
    """Each photo's mean colour, the middle pixel, and the size; `fail_at` raises after so many batches."""

    name: str = "mean-colour"
    dim: int = 8
    fingerprint: str = "weights"
    delay: float = 0.0
    fail_at: int | None = None
    batches: list[int] = field(default_factory=list)

    def prepare(self, photo: Image.Image) -> np.ndarray:
        pixels = np.asarray(photo, dtype=np.float32)
        middle = pixels[photo.height // 2, photo.width // 2]
        return np.concatenate([pixels.mean((0, 1)), middle, [photo.width, photo.height]]).astype(np.float32)

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        if len(self.batches) == self.fail_at:
            raise KeyboardInterrupt
        time.sleep(self.delay)
        self.batches.append(len(pixels))
        return pixels


@pytest.fixture
def dataset(tmp_path: Path) -> FakeDataset:
    """23 items; the 3rd and the last have no photo, the 6th has a broken one."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    photos: list[Path | None] = []
    for item in range(23):
        path = tmp_path / "photos" / f"{item}.png"
        Image.fromarray(rng.integers(256, size=(8 + item, 9, 3), dtype=np.uint8)).save(path)
        photos.append(path)
    photos[2] = photos[22] = None
    (tmp_path / "photos" / "5.png").write_bytes((tmp_path / "photos" / "5.png").read_bytes()[:60])
    (tmp_path / "data").mkdir()
    return FakeDataset(tmp_path / "data", photos)


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, without the lock."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(name="contents")
def contents_fixture() -> Callable[[Path], dict[str, str]]:
    return contents


@pytest.fixture
def mean_colour() -> type[MeanColour]:
    return MeanColour
