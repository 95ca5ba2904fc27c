"""What `vip5 compare` calls: two seeds of one model, and the same model with and without the purchase history.

Usage: python benchmarks/history.py DATASET [OUT]. Semantic codes, the samples of codes.toml, one short prompt. Writes
benchmarks/results/history.json.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from vip5 import __version__
from vip5.data import Dataset
from vip5.evaluation.compare import compare
from vip5.evaluation.evaluate import evaluate
from vip5.evaluation.results import Machine
from vip5.files import write_text
from vip5.predict.answers import ModelSystem
from vip5.predict.folder import is_finished
from vip5.predict.model import TrainedModel
from vip5.training import Run, load_config, train

HERE = Path(__file__).parent
RUNS = (("with", 0), ("with", 1), ("without", 0))
SETTINGS = ("modalities.photo=none", "codes.scheme=semantic", "samples.choice=0")
METRICS = ("HR@5", "NDCG@5", "HR@10", "NDCG@10")


def run_one(dataset: Path, out: Path, job: tuple[str, int]) -> Path:
    history, seed = job
    folder = out / f"{history}-{seed}"
    torch.set_num_threads(1)
    data = Dataset(dataset)
    if not is_finished(folder):
        own = [f"prompts.extra={HERE / 'prompts' / history}-history.toml", 'prompts.train=["H-1"]', f"seed={seed}"]
        config = load_config("prompts", HERE / "codes.toml", [*own, *SETTINGS])
        train(Run.new(config, data), folder, quiet=True)
    if not (folder / "ranks.parquet").is_file():
        evaluate(ModelSystem(TrainedModel.load(folder)), data, ["H-1"]).save(folder)
    return folder


if __name__ == "__main__":
    dataset, out = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "runs/history")
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        first, second, without = pool.map(partial(run_one, dataset, out), RUNS)
    stored = {
        "command": "benchmarks/history.py BEAUTY",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "dataset": Dataset(dataset).manifest.name,
        "data_hash": Dataset(dataset).hash,
        "seeds": compare([first, second], metrics=METRICS).as_dict(),
        "history": compare([without, first], metrics=METRICS).as_dict(),
    }
    write_text(HERE / "results" / "history.json", json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
