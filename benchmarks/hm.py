"""H&M purchases, 5-core, ResNet-50 vectors: trained with photos and without, and what the photos are worth.

Usage: benchmarks/hm.py DATASET [OUT], where DATASET is the folder hm or hm-time of benchmarks/datasets.sh. Writes
benchmarks/results/NAME.json, and NAME-again.json or NAME-no-again.json by the policy on repeats that is not the data's
default.
"""

import sys
from pathlib import Path

from vip5.audit.audit import audit_system
from vip5.cli.options import print_table
from vip5.data import Dataset
from vip5.evaluation.options import EvaluateOptions
from vip5.evaluation.results import Results
from vip5.evaluation.tables import caption, table
from vip5.reproduce.photos import WITH, with_and_without_photos

OVERRIDES = ["optim.epochs=6", "model.dropout=0.1", "run.validate_epochs=1"]
NEXT, PROMPTS = ("A-3", "A-9"), ("A-3", "A-9", "B-5", "B-8")
RESULTS = Path(__file__).parent / "results"


def measure(data: Dataset, out: Path, prompts: tuple[str, ...], again: bool, file: Path) -> None:
    """Train where that is not done, evaluate, store and show; the audit's rules follow the default policy."""
    options = EvaluateOptions(allow_again=again)
    compared = with_and_without_photos(data, out, OVERRIDES, prompts, say=print, options=options)
    found = compared.found[WITH]
    audited = audit_system(found.system, data) if again == data.buys_again else None
    results = Results.record(
        [*compared.numbers, *(audited.results(compared.numbers) if audited else ())],
        "benchmarks/hm.py DATASET",
        "cpu",
        options.model_dump(include={"decode", "beams"}) | {"history_excluded": not again},
        audited.summary() if audited else None,
        found.notes,
    )
    results.save(file)
    print_table(file.stem, *table(results.results), caption(results.results, results.audit, results.notes))


if __name__ == "__main__":
    dataset = Dataset(Path(sys.argv[1]))
    name, usual = dataset.manifest.name, dataset.buys_again
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else f"runs/{name}")
    measure(dataset, folder, NEXT, not usual, RESULTS / f"{name}-{'no-again' if usual else 'again'}.json")
    measure(dataset, folder, PROMPTS, usual, RESULTS / f"{name}.json")
