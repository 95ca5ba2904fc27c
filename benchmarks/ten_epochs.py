"""The paper's whole training, timed: ten epochs of its mix of samples, t5-small's size, two image tokens.

Usage: benchmarks/ten_epochs.py DATASET OUT --tokenizer T5 [--mode self+cross] [--precision auto] [--epochs 10]
       [--modality photo]

Weights start at random, and so do photos' vectors unless those of a modality of the data set are named: this is about
time. Cut short (`timeout 590 …`) and given again, it goes on exactly where it was; the seconds of all parts are added
up in OUT.json.
"""

import argparse
import json
import time
from pathlib import Path

from vip5.bench.train import TUNINGS
from vip5.bench.workload import random_run
from vip5.data import Dataset
from vip5.evaluation.results import Machine
from vip5.files import write_text
from vip5.modalities import open_modality
from vip5.training import best_device, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer")
    parser.add_argument("--size", default="small")
    parser.add_argument("--mode", choices=TUNINGS, default="self+cross")
    parser.add_argument("--modality", help="in place of random vectors, those of this store of the data set")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--device")
    given = parser.parse_args()
    dataset, file = Dataset(given.dataset), given.out.with_suffix(".json")
    optim = {"epochs": given.epochs, "precision": given.precision}
    store = given.modality and open_modality(dataset, given.modality)
    run = random_run(dataset, given.size, given.tokenizer, peft=TUNINGS[given.mode], optim=optim, store=store)
    before = json.loads(file.read_text())["seconds_by_part"] if file.is_file() else []
    device, began = best_device(given.device), time.perf_counter()

    def record(**more: object) -> None:
        seconds = [*before, round(time.perf_counter() - began, 1)]
        about = {
            "command": f"benchmarks/ten_epochs.py {dataset.manifest.name} --mode {given.mode}",
            "precision": given.precision,
            "machine": Machine.here(device).model_dump(),
            "data_hash": dataset.hash,
            "seconds": sum(seconds),
            "seconds_by_part": seconds,
        }
        write_text(file, json.dumps(about | more, indent=1) + "\n")

    try:
        summary = train(run, given.out, device)
    except BaseException:
        record(finished=False)
        raise
    record(finished=True, summary=summary)


if __name__ == "__main__":
    main()
