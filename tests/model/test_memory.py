"""Memory that is freed is used again, and not asked of the kernel each time."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from vip5.model.memory import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(2**25)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
asked = faults()
keep_memory()
faults()
print(asked, faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_used_again():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    asked, kept = map(int, done.stdout.split())
    assert kept < 100 < asked
