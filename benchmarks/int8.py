"""What 8-bit integers on a CPU cost in accuracy, on finished runs. (What they gain in time: `vip5 bench decode`.)

Usage: benchmarks/int8.py DATASET RUN …

Every test user is asked A-3 and every fourth B-5, in float32 and in 8-bit integers; NDCG@10 and HR@10 with the paired
difference, 95 % intervals by the bootstrap over users.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vip5 import __version__
from vip5.cli.options import print_table
from vip5.data import Dataset
from vip5.evaluation.evaluate import evaluate
from vip5.evaluation.intervals import estimate, paired_difference
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.results import Machine
from vip5.files import write_text
from vip5.predict.answers import ModelSystem
from vip5.predict.model import TrainedModel

PROMPTS = {"A-3": 1, "B-5": 4}  # the how-manieth user is asked


def measure(folder: str, dataset: str) -> list[dict[str, Any]]:
    found, data = {}, Dataset(dataset)
    for int8 in (False, True):
        system = ModelSystem(TrainedModel.load(folder, int8=int8))
        for prompt, every in PROMPTS.items():
            asked = EvaluateOptions(users=len(data.tested("test")) // every)
            found[prompt, int8] = evaluate(system, data, [prompt], asked).ranked[prompt][1].accuracy([10])
    about = {"scheme": system.model.codes.scheme, "seed": system.seed, "data_hash": data.hash}
    rows = []
    for prompt in PROMPTS:
        for metric in ("HR@10", "NDCG@10"):
            before, after = (found[prompt, int8][metric] for int8 in (False, True))
            rows.append(
                about
                | {"prompt": prompt, "metric": metric, "users": len(before)}
                | {"float32": estimate(before)._asdict(), "int8": estimate(after)._asdict()}
                | {"difference": paired_difference(after, before)._asdict()}
            )
    return rows


def main() -> None:
    dataset, *runs = sys.argv[1:]
    rows = [row for run in runs for row in measure(run, dataset)]
    stored = {
        "command": f"benchmarks/int8.py {Dataset(dataset).manifest.name.upper()} {' '.join(runs)}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "protocol": "clean",
        "rows": rows,
    }
    write_text(Path(__file__).parent / "results" / "int8.json", json.dumps(stored, indent=1) + "\n")
    columns = ["codes", "prompt", "metric", "float32", "int8", "int8 − float32"]
    print_table(
        "8-bit integers",
        columns,
        [
            [r["scheme"], r["prompt"], r["metric"], f"{r['float32']['value']:.4f}", f"{r['int8']['value']:.4f}",
             "{value:+.4f} [{low:+.4f}, {high:+.4f}]".format(**r["difference"])]
            for r in rows
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
