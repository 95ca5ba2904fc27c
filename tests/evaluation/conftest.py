"""Made-up results and cases."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
