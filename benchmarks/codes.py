"""All code schemes on one data set: nano, the same samples for each, three seeds, beside rules that need no training.

Usage: python benchmarks/codes.py DATASET [OUT] [--workers N]. DATASET is a dataset folder; runs stay in OUT, and what
is done is not done again. Writes benchmarks/results/codes.json.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from vip5 import __version__
from vip5.audit.audit import audit_system
from vip5.data import Dataset
from vip5.evaluation.compare import compare
from vip5.evaluation.evaluate import Evaluation, evaluate
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.results import Machine
from vip5.files import write_text
from vip5.predict.answers import ModelSystem
from vip5.predict.folder import is_finished
from vip5.predict.model import TrainedModel
from vip5.training import Run, load_config, train

HERE = Path(__file__).parent
SCHEMES = ("sequential", "random", "atomic", "collaborative", "semantic", "collaborative+atomic", "paper")
SEEDS = (0, 1, 2)
# Prompts of a hundred candidates are long: a quarter of the users are asked.
PROMPTS: dict[str, int | None] = {"A-3": None, "B-5": 5591}
METRICS = ("HR@5", "NDCG@5", "HR@10", "NDCG@10")
TEXT_ALONE = "modalities.photo=none"


def run_one(dataset: Path, out: Path, job: tuple[str, int]) -> Path:
    """Train and evaluate one run on one thread, as far as that is not done."""
    scheme, seed = job
    folder = out / f"{scheme}-{seed}"
    torch.set_num_threads(1)
    data = Dataset(dataset)
    if not is_finished(folder):
        config = load_config("prompts", HERE / "codes.toml", [TEXT_ALONE, f"codes.scheme={scheme}", f"seed={seed}"])
        train(Run.new(config, data), folder, quiet=True)
    if not (folder / "ranks.parquet").is_file():
        system = ModelSystem(TrainedModel.load(folder))
        found = Evaluation(system, data, EvaluateOptions())
        for prompt, users in PROMPTS.items():
            found.ranked |= evaluate(system, data, [prompt], EvaluateOptions(users=users)).ranked
        found.save(folder)
    print(f"{folder} is done", flush=True)
    return folder


def search_errors(system: ModelSystem, data: Dataset) -> dict[str, Any]:
    """What beam search loses against exact lists, and what those cost."""
    found, seconds = {}, {}
    for options in (EvaluateOptions(decode="beam"), EvaluateOptions(decode="exact")):
        began = time.perf_counter()
        found[options.decode] = evaluate(system, data, ["A-3"], options).ranked["A-3"][1]
        seconds[options.decode] = time.perf_counter() - began
    ndcg = {decode: float(ranked.accuracy([10])["NDCG@10"].mean()) for decode, ranked in found.items()}
    return {
        "ndcg": ndcg,
        "relative_difference": (ndcg["beam"] - ndcg["exact"]) / ndcg["exact"],
        "time_ratio": seconds["exact"] / seconds["beam"],
    }


def system_of(folders: list[Path], data: Dataset, scheme: str) -> dict[str, Any]:
    """What is known of a scheme beside its numbers."""
    system = ModelSystem(TrainedModel.load(folders[0]))
    audited = audit_system(system, data)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    return {
        "scheme": scheme,
        "protocol": "paper" if scheme == "paper" else "clean",
        "facts": system.model.codes.facts(),
        "minutes": sum(summary["seconds"] for summary in summaries) / len(summaries) / 60,
        "samples": summaries[0]["samples"],
        "audit": audited.summary(),
        "rules": [row for row in audited.as_dict()["rules"] if row["rule"] in ("id + 1", "id gap")],
        "search": search_errors(system, data),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/codes"))
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    jobs = [(scheme, seed) for seed in SEEDS for scheme in SCHEMES]
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        folders = list(pool.map(partial(run_one, given.dataset, given.out), jobs))
    of_scheme = {scheme: [f for f, job in zip(folders, jobs, strict=True) if job[0] == scheme] for scheme in SCHEMES}
    in_order = [folder for runs in of_scheme.values() for folder in runs]
    compared = compare(in_order, list(PROMPTS), METRICS, join_seeds=True, all_pairs=True)
    dataset = Dataset(given.dataset)
    common = audit_system(ModelSystem(TrainedModel.load(folders[0])), dataset).as_dict()["rules"]
    stored = {
        "command": "benchmarks/codes.py BEAUTY",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "dataset": dataset.manifest.name,
        "data_hash": dataset.hash,
        "seeds": SEEDS,
        "settings": load_config("prompts", HERE / "codes.toml", [TEXT_ALONE]).model_dump(),
        "systems": [system_of(runs, dataset, scheme) for scheme, runs in of_scheme.items()],
        "rules": [row for row in common if row["rule"] in ("popularity", "item-knn")],
        "comparison": compared.as_dict(),
    }
    write_text(HERE / "results" / "codes.json", json.dumps(stored, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
