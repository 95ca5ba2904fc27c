"""H&M purchases, 5-core, ResNet-50 features: trained with photos and without, and what the photos are worth.

Usage: benchmarks/hm.py FOLDER_OF_HM ENCODER [OUT]
"""

import sys
from pathlib import Path

from vip5.audit.audit import audit_system
from vip5.cli.options import print_table
from vip5.data import Dataset, prepare
from vip5.evaluation.results import Results
from vip5.evaluation.tables import caption, table
from vip5.modalities.encode import encode
from vip5.modalities.encoders import load_encoder
from vip5.reproduce.photos import WITH, with_and_without_photos

OVERRIDES = ["optim.epochs=6", "model.dropout=0.1", "run.validate_epochs=1"]

if __name__ == "__main__":
    source, encoder = Path(sys.argv[1]), sys.argv[2]
    out = Path(sys.argv[3] if len(sys.argv) > 3 else "runs/hm")
    data = out / "data"
    if not (data / "manifest.json").is_file():
        tables = {name: source / f"{name}.parquet" for name in ("interactions", "items")}
        prepare(data, **tables, images=source, k_core=5, name="hm", report=print)
    dataset = Dataset(data)
    encode(dataset, load_encoder(encoder, "cpu"), progress=True)
    compared = with_and_without_photos(dataset, out, OVERRIDES, ("A-3", "A-9", "B-5", "B-8"), say=print)
    found = compared.found[WITH]
    audited = audit_system(found.system, dataset)
    results = Results.record(
        [*compared.numbers, *audited.results(compared.numbers)],
        "benchmarks/hm.py HM resnet-50-imagenet",
        "cpu",
        found.options.model_dump(include={"decode", "beams"}) | {"history_excluded": not found.again},
        audited.summary(),
        found.notes,
    )
    results.save("benchmarks/results/hm.json")
    print_table("H&M, 5-core", *table(results.results), caption(results.results, results.audit, results.notes))
