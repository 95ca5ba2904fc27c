"""A tiny shop in which everybody buys in turn, from a place of their own on, round and round."""

import polars as pl
import pytest

from vip5.data import Dataset, prepare

ITEMS = 20


@pytest.fixture(scope="session")
def make_shop(tmp_path_factory):
    def make(last: int = 0) -> Dataset:
        """The shop; the last item of each user, which is the test, is another one by `last` places."""
        folder = tmp_path_factory.mktemp("shop")
        rows = [
            (f"user{user:02}", f"item{(user + step + (last if step == 6 else 0)) % ITEMS:02}", step)
            for user in range(60)
            for step in range(7)
        ]
        pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row").write_parquet(folder / "bought.parquet")
        return prepare(folder / "dataset", interactions=folder / "bought.parquet")

    return make


@pytest.fixture(scope="session")
def shop(make_shop) -> Dataset:
    return make_shop()
