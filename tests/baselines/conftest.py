"""A tiny shop whose right answers are known by eye."""

import polars as pl
import pytest

from vip5.data import Dataset, prepare

SHELF = 8  # items on each of two shelves, a0 … a7 and b0 … b7
USERS = {"a": 48, "b": 32}


def bought(shelf: str, number: int) -> list[str]:
    """Everybody keeps to one shelf and takes six items in turn, from a place of their own on, round and round."""
    return [f"{shelf}{(number + step) % SHELF}" for step in range(6)]


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory):
    def make(last: dict[str, str] | None = None) -> Dataset:
        """The shop; `last` are other items in place of some users' last ones, which are the test."""
        folder = tmp_path_factory.mktemp("shop")
        rows = []
        for shelf, users in USERS.items():
            for number in range(users):
                user = f"{shelf}-user{number:02}"
                items = bought(shelf, number)
                items[-1] = (last or {}).get(user, items[-1])
                rows += [(user, item, time) for time, item in enumerate(items)]
        pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_parquet(folder / "bought.parquet")
        return prepare(folder / "dataset", interactions=folder / "bought.parquet")

    return make


@pytest.fixture(scope="session")
def tiny(make_tiny) -> Dataset:
    return make_tiny()
