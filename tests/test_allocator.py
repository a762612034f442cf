"""What glibc does with freed memory, seen from outside: the pages that a process asks the system for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, torch
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, which count as one
from lamina.engine.allocator import keep_freed_memory

print(keep_freed_memory())
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
blocks = [torch.ones(2**21) for _ in range(20)]
del blocks
before = faults()
for _ in range(10):
    blocks = [torch.ones(2**21) for _ in range(20)]  # each 8 MiB, 2,048 pages
    del blocks
print(faults() - before)
"""


def run(**settings):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment | settings, capture_output=True, text=True, check=True
    )
    kept, faults = result.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is on Linux")
def test_freed_memory_is_kept_unless_told_otherwise():
    kept, faults_when_kept = run()
    assert kept
    for setting in ({"LAMINA_RETURN_MEMORY": "1"}, {"MALLOC_TRIM_THRESHOLD_": "131072"}):
        kept, faults = run(**setting)
        assert not kept
        assert faults > 2 * faults_when_kept  # how many, depends on what lies behind the blocks
