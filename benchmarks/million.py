"""A model by recipe best on a made-up catalogue of a million items: how long, and how much memory.

Usage: python benchmarks/million.py OUT [--items N] [--epochs N]

Half as many people as items, ten purchases each, which follow each other within kinds; items have a title. Each step is
made in a process of its own, so that each peak is its own. Writes benchmarks/results/million.json.
"""

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np
import polars as pl

from vip5 import __version__
from vip5.evaluation.results import Machine
from vip5.files import write_text

RESULTS = Path(__file__).parent / "results" / "million.json"
BOUGHT = 10


def write_tables(folder: Path, n_items: int) -> None:
    """Items in kinds of a hundred; each next purchase is of the same kind nine times in ten."""
    rng, n_users = np.random.default_rng(0), n_items // 2
    kinds = max(1, n_items // 100)
    kind = rng.integers(0, kinds, n_users)
    words = np.array([f"word{n}" for n in range(20_000)])
    items = []
    for _ in range(BOUGHT):
        kind = np.where(rng.random(n_users) < 0.9, kind, rng.integers(0, kinds, n_users))
        items.append(kind * 100 + (100 * rng.random(n_users) ** 2).astype(int))
    bought = np.stack(items, axis=1).ravel()
    pl.DataFrame(
        {"user": np.arange(n_users).repeat(BOUGHT), "item": bought, "timestamp": np.tile(np.arange(BOUGHT), n_users)}
    ).write_parquet(folder / "interactions.parquet")
    number = np.arange(n_items)
    title = [words[number // 100 % 20_000], words[number // 700 % 20_000], words[rng.integers(0, 20_000, n_items)]]
    pl.DataFrame({"item": number, "words": np.stack(title, axis=1).tolist()}).select(
        "item", title=pl.col("words").list.join(" ")
    ).write_parquet(folder / "items.parquet")


def measured(*command: str) -> dict[str, float]:
    """Seconds and peak memory (GiB) of a command of vip5; the peak is of all commands so far where it is less."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vip5", *command], check=True)
    peak = getrusage(RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"seconds": round(time.perf_counter() - began, 1), "peak_gib_so_far": round(peak, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    write_tables(given.out, given.items)
    tables = [f"--{name}={given.out / name}.parquet" for name in ("interactions", "items")]
    data, run = str(given.out / "data"), str(given.out / "run")
    settings = [f"optim.epochs={given.epochs}", "run.validate_users=200"]
    steps = {
        "prepare": measured("data", "prepare", data, *tables),
        "encode": measured("data", "encode", data, "--modality", "text"),
        "train": measured("train", data, "--out", run, "--recipe", "best", *settings),
        "answer": measured("recommend", run, "--history", "0", "--history", "1"),
    }
    stored = {
        "command": f"benchmarks/million.py OUT --items {given.items} --epochs {given.epochs}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "items": given.items,
        "purchases": given.items // 2 * BOUGHT,
        "settings": settings,
        "steps": steps,
        "training": json.loads((given.out / "run" / "summary.json").read_text("utf-8")),
    }
    write_text(RESULTS, json.dumps(stored, indent=1) + "\n")
    print(json.dumps(steps, indent=1))


if __name__ == "__main__":
    main()
