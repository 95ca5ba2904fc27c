"""The first steps of two small runs, as they were: whatever changes them must be meant, and renew the numbers.

`pytest tests/training/test_golden.py --renew-golden` writes golden.json anew; say in the change why they moved.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden.json")
# Torch's kernels for this processor, and those for any processor.
KERNELS = {"own": {}, "default": {"ATEN_CPU_CAPABILITY": "default"}}
# Relative. Kernels sum in other orders, and that moves the numbers; norms of gradients most, where a ReLU flips. Each
# tolerance is five times the spread or more, and each change to catch moves one of them by three tolerances or more.
#                                                      losses         norms of gradients   sizes of weights
# spread: AVX2, default and MKL_CBWR=COMPATIBLE         9e-8           1e-4                 0
#         two makes of processor, twice the steps       4e-6           5e-4                 not measured
#         weights that start 1e-7 apart, nine draws     2e-6           8e-4                 2e-7
# caught: q that starts 1 % longer                      1.5e-4         7e-3                 6e-5
#         weight decay 0.1 on norms                     1e-5           5e-4                 1e-4 (full), 3e-4
#         SiLU for the adapters' GELU                   6e-5           1e-2                 4e-5
#         dropout of another seed                       5e-2           1.5e-1               4e-6 (full), 2e-5
TOLERANCE = {"losses": 2e-5, "gradient_norms": 4e-3, "weights": 1e-5}


@pytest.fixture(scope="module", params=["own", pytest.param("default", marks=pytest.mark.slow)])
def found(request, tiny_data, tiny_settings, tmp_path_factory) -> dict[str, dict]:
    """What golden_run.py finds in a process of its own with these kernels."""
    script, out = Path(__file__).with_name("golden_run.py"), tmp_path_factory.mktemp("golden")
    done = subprocess.run(
        [sys.executable, script, tiny_data.path, out, *tiny_settings],
        capture_output=True, text=True, env=os.environ | KERNELS[request.param], timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    if request.param == "own" and request.config.getoption("renew_golden"):
        GOLDEN.write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")
    return numbers


@pytest.mark.parametrize("name", ["full", "adapters"])
def test_training_is_what_it_was(name, found):
    golden = json.loads(GOLDEN.read_text("utf-8"))[name]
    assert found[name]["samples"] == golden["samples"]
    for what, tolerance in TOLERANCE.items():
        assert found[name][what] == pytest.approx(golden[what], rel=tolerance), what
