"""Made-up results and cases."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from vip5.data import Dataset, prepare
from vip5.evaluation.intervals import Difference, Estimate
from vip5.evaluation.report import Case, Explained, Product, Recommended
from vip5.evaluation.results import Machine, Result, Results

MACHINE = Machine(cpu="Some CPU", cores=2, device="cpu", python="3.12.1", torch="2.13.0")
RANKING = ("HR@1", "NDCG@1", "HR@5", "NDCG@5", "HR@10", "NDCG@10", "MRR@10")
TASKS = {
    "A-3": ("next item", RANKING[2:], "popularity"),
    "A-9": ("next item", RANKING[2:], "popularity"),
    "B-5": ("one of 100", RANKING, "popularity"),
    "B-8": ("one of 100", RANKING, "popularity"),
    "C-3": ("explanation", ("BLEU-1", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L"), "most frequent sentence"),
    "C-12": ("explanation", ("BLEU-1", "BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L"), "most frequent sentence"),
}


def make_results(models=("VIP5", "VIP5 without photos"), **about) -> Results:
    """Every number of a quickstart."""
    about = {"dataset": "demo", "data_hash": "c0ffee" * 10, "protocol": "clean", "split": "test", "seed": 0} | about
    made = []
    for prompt, (task, metrics, baseline) in TASKS.items():
        unit = 100.0 if task == "explanation" else 1.0
        for place, model in enumerate(models):
            for number, metric in enumerate(metrics, start=1):
                value, other = unit * (0.05 * number - 0.01 * place), unit * 0.01 * number
                result = Result.of(
                    Estimate(value, 0.9 * value, 1.2 * value, 600),
                    Estimate(other, 0.8 * other, 1.1 * other, 600),
                    Difference(value - other, value - 1.5 * other, value, 0.002),
                    **about, task=task, prompt=prompt, metric=metric, model=model, baseline=baseline,
                )  # fmt: skip
                made.append(result)
    return Results(
        command="vip5 quickstart", date="2030-01-02T03:04:05+00:00", version="0.1.0", machine=MACHINE,
        decoding={"beams": 20}, results=tuple(made),
    )  # fmt: skip


@pytest.fixture(scope="session")
def results() -> Results:
    return make_results()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Thirty photos of noise, 300 by 400 pixels."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{number}.png" for number in range(30)]
    for path in paths:
        coarse = rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((300, 400)).save(path)
    return paths


@pytest.fixture(scope="session")
def cases(photos: list[Path]) -> list[Case]:
    """More users than a page shows."""
    products = [Product(f"Product {number}", photo) for number, photo in enumerate(photos)]
    return [
        Case(
            user=f"User {user}",
            history=products[user : user + 10],
            recommended=[
                Recommended(products[user + i], 0.5 / 2**i, taken=user % 2 == 0 and i == 2) for i in range(10)
            ],
            truth=products[user + 2],
            explanations=[Explained("C-3", f"I love it, says {user}.", products[user + 2], "It is fine.")],
        )
        for user in range(15)
    ]


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
