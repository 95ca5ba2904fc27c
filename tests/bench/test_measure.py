"""Measuring in a process of its own."""

import signal
from functools import partial

import pytest

from vip5.bench.measure import alone
from vip5.errors import UserError


@pytest.mark.slow
def test_memory_is_what_the_work_took():
    seconds, memory = alone(partial, bytearray, 200 * 2**20)  # loading gives a function that takes 200 MiB
    assert seconds > 0
    if memory:  # Linux
        assert 195 < memory["beyond_mib"] < 230 and memory["peak_mib"] > memory["beyond_mib"]


@pytest.mark.slow
def test_a_killed_process_is_one_clear_line():
    with pytest.raises(UserError, match="killed, most likely for want of memory"):
        alone(signal.raise_signal, signal.SIGKILL)
