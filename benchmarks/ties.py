"""How often the test target has the time of the purchase before, and what the file's order of such ties gives away.

Usage: python benchmarks/ties.py TABLES [OUT]. Writes benchmarks/results/ties.json.

TABLES holds amazon2014/, hm/, ml-1m/ and rt-critics/. Every set is held out by leave-one-out, once with ties as in the
file and, where there are ties, once for each seed with ties shuffled. The folders go to OUT; what is there is not made
again.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vip5 import __version__
from vip5.audit.leaks import tied_targets, ties
from vip5.audit.probes import NextRawId
from vip5.data import Dataset, prepare, prepare_amazon
from vip5.data.schema import Ties
from vip5.evaluation.held_out import HeldOut
from vip5.evaluation.intervals import estimate
from vip5.evaluation.ranking import ranking_metrics, ranks_in_list
from vip5.evaluation.results import Machine
from vip5.files import write_text

HERE = Path(__file__).parent
SETS = ("beauty", "sports", "toys", "clothing", "hm", "ml-1m", "rt-critics", "musical")
SEEDS = (0, 1, 2)
METRICS = ("HR@1", "HR@10")


def prepared(tables: Path, out: Path, name: str, how: Ties, seed: int) -> Dataset:
    """The set as `datasets.sh` makes it, but without photos, and by leave-one-out."""
    folder = out / f"{name}-{how}-{seed}"
    if (folder / "manifest.json").is_file():
        return Dataset(folder)
    options: dict[str, Any] = {"name": name, "ties": how, "seed": seed}
    if name == "musical":
        place = tables / "amazon2014" / "musical_instruments"
        reviews = place / "reviews_Musical_Instruments_5.json.gz"
        return prepare_amazon(folder, reviews=reviews, explanations=place / "explanations.parquet", **options)
    place = tables / name if (tables / name).is_dir() else tables / "amazon2014" / name
    kinds = ("reviews", "items", "explanations") if name == "rt-critics" else ("interactions", "items")
    options |= {kind: place / f"{kind}.parquet" for kind in kinds}
    if name in ("hm", "rt-critics"):
        options["k_core"] = 5
    if name == "sports":
        options["mapping"] = {"attributes": "categories"}
    return prepare(folder, **options)


def measured(dataset: Dataset) -> dict[str, Any]:
    """What the rule "next higher raw id" finds of the test targets: of all of them, and of those that tie."""
    tested = HeldOut.of(dataset)
    rule = NextRawId(dataset.items["item"].to_list())
    found = ranking_metrics(ranks_in_list(rule.rank(tested.histories, 10), tested.targets), (1, 10))
    tied, timed = tied_targets(dataset, tested), dataset.manifest.order == "time"
    among = {"all": np.ones(len(tested), dtype=bool)} | ({"tied": tied} if tied is not None and tied.any() else {})
    check = ties(dataset, tested)
    return {
        "dataset": dataset.manifest.name,
        "data_hash": dataset.hash,
        "order": dataset.manifest.order,
        "ties": dataset.manifest.ties,
        "seed": dataset.manifest.seed,
        "n": len(tested),
        "tied_tests": dataset.manifest.counts["tied_tests"] if timed else None,
        "tied_share": dataset.tied_share if timed else None,
        "check": {"status": check.status, "words": check.words},
        "rule": {whom: {m: estimate(found[m][rows])._asdict() for m in METRICS} for whom, rows in among.items()},
    }


def main() -> None:
    tables, out = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "runs/ties")
    rows = []
    for name in SETS:
        first = prepared(tables, out, name, "file", 0)
        made = [first]
        if first.manifest.counts["tied"]:  # else a shuffle has nothing to move
            made += [prepared(tables, out, name, "shuffle", seed) for seed in SEEDS]
        for dataset in made:
            rows.append(row := measured(dataset))
            numbers = {whom: f"{found['HR@1']['value']:.4f}" for whom, found in row["rule"].items()}
            print(name, row["ties"], row["seed"], row["tied_tests"], numbers, row["check"]["status"], flush=True)
    stored = {
        "command": "benchmarks/ties.py TABLES",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "rows": rows,
    }
    write_text(HERE / "results" / "ties.json", json.dumps(stored, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
