"""Made-up results and cases, a system whose answers are given, and a trained one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from vip5.data import Dataset, Ragged
from vip5.data.catalogue import Catalogue
from vip5.evaluation.evaluate import Evaluation
from vip5.evaluation.intervals import Difference, Estimate
from vip5.evaluation.report import Case, Explained, Product, Recommended
from vip5.evaluation.results import Machine, Result, Results
from vip5.predict.answers import ModelSystem
from vip5.predict.lists import Ranking
from vip5.predict.model import TrainedModel
from vip5.predict.system import Decoding
from vip5.prompts import Prompt, load_prompts

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


@dataclass
class Stub:
    """A system by the letter of the protocol, whose answers are given: for each user an order of all items."""

    catalogue: Catalogue
    best: np.ndarray  # int [n_users, m], the best first
    said: Callable[[pl.DataFrame], list[str]] = lambda asked: ["it is good"] * len(asked)
    name: str = "stub"
    seed: int = 0
    leaky: bool = False
    prompts: dict[str, Prompt] = field(default_factory=load_prompts, repr=False)

    def why_not(self, prompt: Prompt) -> str | None:
        return None

    def reads_history(self, prompt: Prompt) -> bool:
        return True

    def rank(
        self, prompt: Prompt, users: np.ndarray, histories: Ragged, k: int, how: Decoding,
        exclude: Ragged | None = None, among: np.ndarray | None = None,
    ) -> Ranking:  # fmt: skip
        listed = []
        for row, user in enumerate(users):
            left_out = set() if exclude is None else set(exclude[row].tolist())
            kept = [item for item in self.best[user].tolist() if item not in left_out][:k]
            listed.append(kept + [-1] * (k - len(kept)))
        return Ranking(np.array(listed), None)

    def choose(
        self, prompt: Prompt, users: np.ndarray, histories: Ragged, candidates: np.ndarray, how: Decoding
    ) -> Ranking:
        orders = [self.best[user].tolist() for user in users]
        listed = [sorted(row, key=order.index) for row, order in zip(candidates.tolist(), orders, strict=True)]
        return Ranking(np.array(listed), None)

    def explain(self, prompt: Prompt, asked: pl.DataFrame, how: Decoding) -> list[str]:
        return self.said(asked)

    def similar(self, items: np.ndarray, k: int) -> Ranking:
        raise NotImplementedError

    def facts(self) -> list[tuple[str, str]]:
        return [("answers", "given")]


def number(evaluation: Evaluation, prompt: str, metric: str, kind: str = "model") -> Result:
    """The one result of all users."""
    return next(r for r in evaluation.results if (r.prompt, r.metric, r.group, r.kind) == (prompt, metric, "all", kind))


def by_hand(lists: np.ndarray, targets: np.ndarray, k: int) -> tuple[float, float]:
    """HR@k and NDCG@k of ranked lists."""
    hits, gains = [], []
    for ranked, target in zip(lists.tolist(), targets.tolist(), strict=True):
        place = ranked[:k].index(target) if target in ranked[:k] else None
        hits.append(place is not None)
        gains.append(0.0 if place is None else 1 / np.log2(place + 2))
    return float(np.mean(hits)), float(np.mean(gains))


@pytest.fixture(scope="session")
def model(tiny_run: Path) -> TrainedModel:
    return TrainedModel.load(tiny_run)


@pytest.fixture(scope="session")
def system(model: TrainedModel) -> ModelSystem:
    return ModelSystem(model)


@pytest.fixture
def some(tiny_data: Dataset) -> Dataset:
    """The shop, where users 0 to 9 have no test part, 10 to 19 no training part, and others 1 to 3 test items."""
    data = Dataset(tiny_data.path)
    lengths, user = data.sequences.lengths, np.arange(data.n_users)
    test = np.where(user < 10, 0, 1 + user % 3)
    train = np.where((user >= 10) & (user < 20), 0, lengths - test - 1)
    data.__dict__["_split_counts"] = np.stack([train, lengths - test - train, test])
    return data
