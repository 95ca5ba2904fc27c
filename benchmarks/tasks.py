"""What yes or no and one of a few are worth beside histories alone: recipe best as it is, and with these tasks taught.

Usage: python benchmarks/tasks.py DATA OUT [--sets …] [--seeds …]

DATA holds dataset folders under their names. The area under the curve (AUC) of yes or no: how often the probability of
yes is higher for the test item of a person than for the first of the stored negatives, half where both are equal. For
the next item the same by the scores after the history. Writes benchmarks/results/tasks.json.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vip5 import __version__
from vip5.data import Dataset
from vip5.evaluation.evaluate import evaluate
from vip5.evaluation.intervals import estimate
from vip5.evaluation.results import EVERYONE, Machine
from vip5.files import write_text
from vip5.model.input import PAD
from vip5.predict.answers import ModelSystem
from vip5.predict.folder import is_finished
from vip5.predict.lists import scored_choice
from vip5.predict.model import TrainedModel
from vip5.prompts import Samples
from vip5.training import Run, load_config, train

RESULTS = Path(__file__).parent / "results" / "tasks.json"
TAUGHT = ["samples.next_yes_no=1", "samples.yes_no=1", "samples.choice=1"]
ASKED = {"as it is": ["A-3"], "all tasks": ["A-3", "B-5", "B-8"]}
YES_NO = ("A-7", "B-1", "B-3")
METRICS = ("HR@10", "NDCG@10")


@torch.no_grad()
def probability_of_yes(run: TrainedModel, name: str, samples: Samples) -> np.ndarray:
    """p(yes) / (p(yes) + p(no)) by the first token of each word, float64 [n]."""
    words = [run.codes.vocabulary.tokenizer.encode(w, add_special_tokens=False).ids[0] for w in ("yes", "no")]
    found = []
    for start in range(0, len(samples), 512):
        batch = run.batch(run.compiler([name]), samples.take(np.arange(start, min(start + 512, len(samples)))))
        state = run.model.start(run.model.encode(batch), 1)
        logits_BV = run.model.head(run.model.step(torch.full((len(batch), 1), PAD), state))[:, 0]
        found.append(logits_BV[:, words].double().softmax(dim=1)[:, 0].numpy())
    return np.concatenate(found)


def area(right: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """Mean over people, and its 95 % interval."""
    found = estimate((right > wrong) + 0.5 * (right == wrong), seed=0)
    return {"AUC": found.value, "low": found.low, "high": found.high, "n": found.n}


def of_yes_no(run: TrainedModel, dataset: Dataset) -> dict[str, dict[str, float]]:
    users = dataset.tested("test")
    history = dataset.history("test").take(users)
    recent = run.config.prompts.max_history
    items = {"right": dataset.targets("test")[users], "wrong": dataset.candidates[0][users, 0]}
    found = {}
    for name in YES_NO:
        shown = {"history": history.last(recent)} if run.prompts[name].task == "next_yes_no" else {}
        asked = {
            side: probability_of_yes(run, name, Samples.of(np.zeros(len(users), int), users, item=item, **shown))
            for side, item in items.items()
        }
        found[name] = area(asked["right"], asked["wrong"])
    return found


def of_next(run: TrainedModel, dataset: Dataset) -> dict[str, float]:
    users = dataset.tested("test")
    pairs = np.stack([dataset.targets("test")[users], dataset.candidates[0][users, 0]], axis=1)
    found = scored_choice(run, "A-3", users, dataset.history("test").take(users), pairs)
    place = (found.items == pairs[:, :1]).argmax(axis=1)
    own = found.scores[np.arange(len(users)), place]
    return area(own, found.scores[np.arange(len(users)), 1 - place])


def measure(name: str, dataset: Dataset, out: Path, seed: int) -> list[dict[str, Any]]:
    rows = []
    for title, asked in ASKED.items():
        folder = out / name / f"{title.replace(' ', '-')}-{seed}"
        config = load_config("best", None, [*(TAUGHT if title == "all tasks" else []), f"seed={seed}"])
        if not is_finished(folder):
            train(Run.new(config, dataset), folder, quiet=True)
        run = TrainedModel.load(folder)
        found = evaluate(ModelSystem(run), dataset, asked).results
        ranked = {
            f"{r.prompt} {r.metric}, {r.task}": {"value": r.value, "low": r.low, "high": r.high}
            for r in found
            if r.metric in METRICS and r.kind == "model" and r.group == EVERYONE
        }
        yes_no = {"A-3, by the score": of_next(run, dataset)}
        if title == "all tasks":
            yes_no |= of_yes_no(run, dataset)
        rows.append({"data": name, "hash": dataset.hash, "seed": seed, "model": title, "ranked": ranked, "AUC": yes_no})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", type=lambda text: text.split(","), default=["hm", "toys"])
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0])
    given = parser.parse_args()
    rows = [
        row
        for name in given.sets
        for seed in given.seeds
        for row in measure(name, Dataset(given.data / name), given.out, seed)
    ]
    stored = {
        "command": f"benchmarks/tasks.py DATA OUT --sets {','.join(given.sets)}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "taught": TAUGHT,
        "rows": rows,
    }
    write_text(RESULTS, json.dumps(stored, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
