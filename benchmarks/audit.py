"""The audit of the four Amazon sets: with the paper's numbers, where they are public, and with codes of ours.

Usage: python benchmarks/audit.py FOLDER_OF_AMAZON2014 [OUT]. Writes benchmarks/results/audit.json.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from vip5 import __version__
from vip5.audit.audit import audit, codes_of
from vip5.data import Dataset, prepare
from vip5.errors import UserError
from vip5.evaluation.results import Machine
from vip5.files import write_text

HERE = Path(__file__).parent
SETS = ("beauty", "sports", "toys", "clothing")

if __name__ == "__main__":
    source, out = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "runs/audit")
    audits = []
    for name in SETS:
        if not (out / name / "manifest.json").is_file():
            tables = {kind: source / name / f"{kind}.parquet" for kind in ("interactions", "items")}
            prepare(out / name, **tables, name=name)
        dataset = Dataset(out / name)
        for codes in ("paper", "sequential"):
            began = time.perf_counter()
            try:
                words, refit = codes_of(codes, dataset)
            except UserError:  # clothing's numbers are not public
                continue
            found = audit(dataset, words, refit, name=codes)
            audits.append(found.as_dict() | {"seconds": round(time.perf_counter() - began, 1)})
            print(name, codes, found.verdict, audits[-1]["seconds"], "s", flush=True)
    stored = {
        "command": "benchmarks/audit.py AMAZON2014",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "machine": Machine.here("cpu").model_dump(),
        "audits": audits,
    }
    write_text(HERE / "results" / "audit.json", json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
