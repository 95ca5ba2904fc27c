"""Fixtures that every test may use."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vip5.data import Dataset, prepare

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is imported
if "PYTEST_XDIST_WORKER" in os.environ:  # processes beside one another: a core each
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-golden", action="store_true", help="Write tests/training/golden.json anew, on purpose.")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and models, beside the project; tests that need it skip where it is absent."""
    place = os.environ.get("VIP5_SHARED_DATA")
    folder = Path(place).parent if place else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder / 'data'} (set VIP5_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A prepared shop of 30 users and 40 items, its photos encoded."""
    from vip5.demo import write_demo
    from vip5.modalities.encode import encode
    from vip5.modalities.encoders import load_encoder

    folder = tmp_path_factory.mktemp("tiny")
    write_demo(folder / "shop", users=30, items=40)
    tables = {name: folder / "shop" / f"{name}.csv" for name in ("interactions", "items", "reviews")}
    dataset = prepare(folder / "dataset", **tables, images=folder / "shop/images")
    encode(dataset, load_encoder("basic"))
    return dataset


@pytest.fixture(scope="session")
def tiny_settings() -> list[str]:
    """Settings over recipe prompts that train in a second or two."""
    counts = ["samples.next=2", "samples.next_yes_no=1", "samples.yes_no=1", "samples.choice=1", "samples.candidates=8"]
    return [
        "model.tokenizer_size=400",
        "codes.scheme=atomic",
        *counts,
        "optim.epochs=3",
        "optim.batch_size=32",
        "optim.precision=fp32",
    ]


@pytest.fixture(scope="session")
def tiny_run(tiny_data, tiny_settings, tmp_path_factory) -> Path:
    """The folder of a run on `tiny_data`, trained without disturbance on one thread."""
    import torch

    from vip5.training import Run, load_config, train

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(Run.new(load_config("prompts", None, tiny_settings), tiny_data), out, quiet=True)
    torch.set_num_threads(threads)
    return out


@pytest.fixture
def make_shop(tmp_path: Path) -> Callable[..., Dataset]:
    """Prepares a data set from rows: what each user buys in turn, and tables of items and reviews."""

    def make(bought: dict[str, Sequence], items: dict | None = None, reviews: list[dict] | None = None, **options):
        folder = tmp_path / f"shop{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        rows = [(user, str(item), n) for user, row in bought.items() for n, item in enumerate(row)]
        tables = {"interactions": pl.DataFrame(rows, ["user", "item", "timestamp"], orient="row")}
        if "names" in options:
            names = options.pop("names")
            tables["interactions"] = tables["interactions"].with_columns(user_name=pl.col("user").replace(names))
        tables |= {"items": pl.DataFrame(items)} if items else {}
        tables |= {"reviews": pl.DataFrame(reviews)} if reviews else {}
        paths = {name: folder / f"{name}.parquet" for name in tables}
        for name, table in tables.items():
            table.write_parquet(paths[name])
        return prepare(folder / "dataset", **paths, **options)

    return make


@pytest.fixture
def random_shop(make_shop: Callable[..., Dataset]) -> Dataset:
    """300 users who each buy 4 to 9 of 1,000 items without any taste, and write of each: nothing can be foretold."""
    rng = np.random.default_rng(0)
    bought = {f"u{n:03}": [f"i{i:04}" for i in rng.choice(1000, rng.integers(4, 10), False)] for n in range(300)}
    reviews = [
        {"user": user, "item": item, "rating": 4.0, "headline": f"so {item[-1]}", "explanation": f"It is {item} ."}
        for user, row in bought.items()
        for item in row
    ]
    return make_shop(bought, {"item": [f"i{n:04}" for n in range(1000)]}, reviews)
