"""A demo shop that a test may change, runs of it of several kinds, and what they answer."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from vip5.data import Dataset, prepare
from vip5.demo import write_demo
from vip5.errors import UserError
from vip5.modalities.encode import encode
from vip5.modalities.encoders import load_encoder
from vip5.predict import Recommender
from vip5.predict.baseline import fit_run
from vip5.training import Run, load_config, train

MODELS = {
    "photos": ["codes.scheme=atomic"],
    "text": ["codes.scheme=semantic", "codes.semantic.size=8", "modalities.photo=none", "optim.epochs=1"],
}
BASELINES: dict[str, dict[str, Any]] = {
    "item-knn": {},
    "bpr-mf": {"epochs": 2},
    "peter": {"epochs": 1},
    "frequent-sentence": {},
}
TABLES = ("interactions", "items", "reviews")


@pytest.fixture
def refusal() -> Callable[..., str]:
    """The one line with which a call is refused."""

    def said(call: Callable[..., object], *args: Any, **kwargs: Any) -> str:
        with pytest.raises(UserError) as error:
            call(*args, **kwargs)
        assert "\n" not in str(error.value)
        return str(error.value)

    return said


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Trained alike whatever else the computer does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def make_place() -> Callable[[Path], Dataset]:
    """Writes a demo shop with its photos into a folder, and prepares and encodes it there."""

    def make(folder: Path) -> Dataset:
        write_demo(folder / "shop", users=30, items=40)
        dataset = prepare(folder / "dataset", **tables_of(folder), images=folder / "shop/images")
        encode(dataset, load_encoder("basic"))
        return dataset

    return make


@pytest.fixture(scope="session")
def make_run(tiny_settings: list[str], one_thread: None) -> Callable[[str, Dataset, Path], None]:
    """Trains or fits one of `MODELS` or `BASELINES` in a moment."""

    def make(kind: str, dataset: Dataset, out: Path) -> None:
        if kind in BASELINES:
            fit_run(kind, dataset, out, BASELINES[kind], "", quiet=True)
        else:
            config = load_config("prompts", None, [*tiny_settings, *MODELS[kind], "samples.explain=3"])
            train(Run.new(config, dataset), out, quiet=True)

    return make


@pytest.fixture(scope="session")
def place(
    make_place: Callable[[Path], Dataset],
    make_run: Callable[[str, Dataset, Path], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A shop and a run of each kind; nobody changes it."""
    folder = tmp_path_factory.mktemp("place")
    dataset = make_place(folder)
    for kind in (*MODELS, *BASELINES):
        make_run(kind, dataset, folder / "runs" / kind)
    return folder


@pytest.fixture
def own_place(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same for one test alone: its dataset lies at another path, which its runs are told."""
    shutil.copytree(place, tmp_path / "place")
    for about in (tmp_path / "place/runs").glob("*/run.json"):
        about.write_text(about.read_text().replace(str(place.resolve()), str((tmp_path / "place").resolve())))
    return tmp_path / "place"


@pytest.fixture
def grow(own_place: Path) -> Callable[[], Dataset]:
    """The shop of `own_place` a week later, prepared over the old one: see `newer_tables`."""

    def renew() -> Dataset:
        newer_tables(own_place / "shop")
        dataset = prepare(
            own_place / "dataset", **tables_of(own_place), images=own_place / "shop/images", overwrite=True
        )
        encode(dataset, load_encoder("basic"))
        return dataset

    return renew


def tables_of(folder: Path) -> dict[str, Any]:
    return {name: folder / f"shop/{name}.csv" for name in TABLES}


def newer_tables(shop: Path) -> None:
    """Five new items and four new people, a purchase more of everybody, of a new item by every other one; all rows in
    another order."""
    items = pl.read_csv(shop / "items.csv")
    fresh = items.head(5).with_columns(
        pl.format("A-new-{}", pl.col("item")).alias("item"), title="New " + pl.col("title")
    )
    fresh = fresh.with_columns(image=items["image"].tail(5))
    pl.concat([items, fresh]).reverse().write_csv(shop / "items.csv")
    bought = pl.read_csv(shop / "interactions.csv")
    people = bought.group_by("user", maintain_order=True).last().sort("user")
    number = np.arange(len(people))
    later = people.with_columns(
        pl.col("timestamp") + 86_400,
        item=pl.Series(
            np.where(number % 2, fresh["item"].to_numpy()[number % 5], items["item"].to_numpy()[number % 40])
        ),
    )
    last = bought["timestamp"].max()
    assert isinstance(last, int)
    newcomers = bought.filter(pl.col("user").is_in(people["user"].head(4).implode())).with_columns(
        pl.format("A-new-{}", pl.col("user")).alias("user"), pl.col("timestamp") + last
    )
    pl.concat([bought, later, newcomers]).reverse().write_csv(shop / "interactions.csv")


@pytest.fixture(scope="session")
def ask() -> Callable[[Recommender, str], dict[str, object]]:
    return all_answers


def all_answers(shop: Recommender, kind: str) -> dict[str, object]:
    """What a run says to each kind of question that it answers, asked with histories."""
    items = shop.catalogue.items["item"].to_list()
    user, history = shop.catalogue.users["user"][3], items[4:7]
    found: dict[str, object] = {}
    if kind in ("photos", "text", "peter", "frequent-sentence"):
        found["explain"] = shop.explain(items[3], user=user)
        found["explain a newcomer"] = shop.explain(items[8], user="nobody", stars=4)
    if kind in ("photos", "text", "item-knn", "bpr-mf"):
        found["recommend"] = shop.recommend(user, history=history, n=5)
        found["recommend a newcomer"] = shop.recommend(history=history, n=5, category="living")
        found["rank"] = shop.rank(items[:6], user=user, history=history)
        found["rank for a newcomer"] = shop.rank(items[:6], user="nobody", history=history)
        found["similar"] = shop.similar(items[2], n=5)
    return found
