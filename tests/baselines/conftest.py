"""A tiny shop whose right answers are known by eye: all on one shelf look alike, and nobody buys a8 and b8.

Everybody says of an item of shelf a that some part of it is fine and gives 5 stars, and of one of shelf b that it is
dull, and gives 2.
"""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from vip5.data import Dataset, prepare
from vip5.modalities.encode import encode
from vip5.modalities.encoders import load_encoder

SHELF = 8  # items on each of two shelves that are bought, a0 … a7 and b0 … b7
USERS = {"a": 48, "b": 32}
PARTS = ("cup", "lid", "box", "bag")  # the features
SAID = {"a": ("the red {} is fine .", 5), "b": ("the blue {} looks dull .", 2)}


def bought(shelf: str, number: int) -> list[str]:
    """Everybody keeps to one shelf and takes six items in turn, from a place of their own on, round and round."""
    return [f"{shelf}{(number + step) % SHELF}" for step in range(6)]


def reviews(rows: list[tuple[str, str, int]], last: dict[str, str]) -> pl.DataFrame:
    """A review of each purchase (user, item, time); its feature goes round."""
    found = []
    for number, (user, item, time) in enumerate(rows):
        sentence, stars = SAID[item[0]]
        part = PARTS[(number // 6 + time) % len(PARTS)]
        said = f"whoever knows {user} knows that {part} ." if user in last and time == 5 else sentence.format(part)
        found.append((user, item, stars, part, said, time))
    columns = ["user", "item", "rating", "feature", "explanation", "timestamp"]
    return pl.DataFrame(found, columns, orient="row")


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory):
    def make(last: dict[str, str] | None = None) -> Dataset:
        """The shop; `last` are other items in place of some users' last ones, which are the test, and the reviews of
        these say other things."""
        folder = tmp_path_factory.mktemp("shop")
        rows = []
        for shelf, users in USERS.items():
            for number in range(users):
                user = f"{shelf}-user{number:02}"
                items = bought(shelf, number)
                items[-1] = (last or {}).get(user, items[-1])
                rows += [(user, item, time) for time, item in enumerate(items)]
        pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_parquet(folder / "bought.parquet")
        reviews(rows, last or {}).write_parquet(folder / "reviews.parquet")
        items = [f"{shelf}{number}" for shelf in "ab" for number in range(SHELF + 1)]
        names = {"item": items, "image": [f"{item}.png" for item in items]}
        pl.DataFrame(names).write_parquet(folder / "items.parquet")
        rng = np.random.default_rng(0)
        (folder / "photos").mkdir()
        for item in items:
            colour = np.array([220, 40, 40] if item[0] == "a" else [40, 40, 220])
            pixels = (colour + rng.integers(-30, 30, (16, 16, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / f"{item}.png")
        files = {"interactions": "bought", "items": "items", "reviews": "reviews"}
        tables = {name: folder / f"{file}.parquet" for name, file in files.items()}
        dataset = prepare(folder / "dataset", **tables, images=folder / "photos")
        encode(dataset, load_encoder("basic"), "photo")
        return dataset

    return make


@pytest.fixture(scope="session")
def tiny(make_tiny) -> Dataset:
    return make_tiny()
