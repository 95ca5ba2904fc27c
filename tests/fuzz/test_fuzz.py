"""A few odd and damaged inputs for every reader; `python tests/fuzz/fuzz.py` draws 10,000."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz import damaged, readers, run

SECONDS = 15.0  # in all


@pytest.mark.parametrize("name", readers())
def test_each_input_is_read_right_or_refused_in_one_line(name):
    share, check = readers()[name]
    found = run(name, check, seed=1, numbers=range(round(400 * share)), most=SECONDS * share)
    assert not found.faults
    assert found.read + found.refused >= 3


def test_a_silent_loss_is_a_fault():
    def reader_that_loses(rng: random.Random, folder: Path) -> None:
        assert rng.random() < 0.5

    assert 10 < len(run("lossy", reader_that_loses, 0, range(40)).faults) < 30


def test_damage_is_never_the_same_bytes():
    rng = random.Random(0)
    for _ in range(500):
        whole = rng.randbytes(rng.randint(0, 60))
        assert damaged(rng, whole) != whole
