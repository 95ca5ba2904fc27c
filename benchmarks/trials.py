"""What settings of SASRec were tried, by the validation part alone, in benchmarks/results/trials.json.

Usage: python benchmarks/trials.py RUN…

RUN is a folder of `vip5 baseline sasrec`, finished or stopped. Nothing of the test part is read.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import safe_open

from vip5 import __version__
from vip5.baselines.sasrec import SASRec
from vip5.evaluation.results import Machine
from vip5.files import write_text
from vip5.predict.folder import is_finished, read_run
from vip5.runs import METRICS_FILE, STATE_FILE

OUT = Path(__file__).parent / "results" / "trials.json"


def trial(folder: Path, names: dict[str, str]) -> dict[str, Any]:
    """One training; `names` are of data sets, by hash."""
    finished = is_finished(folder)
    if finished:
        about = read_run(folder, "baseline")
        data = about["dataset"]["hash"]
    else:
        with safe_open(folder / STATE_FILE, "pt") as stored:
            about = json.loads(stored.metadata()["about"])["about"]
        data = about["hash"]
    defaults = SASRec.check({}).model_dump(mode="json")
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text("utf-8").splitlines()]
    best = max(lines, key=lambda line: line["validation/NDCG@10"])
    return {
        "dataset": names.get(data, data[:12]),
        "data_hash": data,
        "settings": {name: value for name, value in about["config"].items() if value != defaults[name]},
        "finished": finished,
        "epochs": len(lines),
        "best_epoch": best["epoch"],
        "minutes": round(sum(line["seconds"] for line in lines) / 60, 2),
        "validation": {name: best[f"validation/{name}"] for name in ("NDCG@10", "HR@10")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args()
    known = json.loads((OUT.parent / "baselines.json").read_text("utf-8"))["data"]
    names = {data["hash"]: name for name, data in known.items()}
    trials = [trial(folder, names) for folder in given.runs]
    trials.sort(key=lambda t: (t["dataset"], t["settings"].get("loss", ""), -t["validation"]["NDCG@10"]))
    stored = {
        "command": "benchmarks/trials.py RUN…",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "defaults": SASRec.check({}).model_dump(mode="json"),
        "trials": trials,
    }
    write_text(OUT, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    print(f"{OUT}: {len(trials)} trials")


if __name__ == "__main__":
    main()
