"""What an engine makes of a workload: something to run, and how many steps one run has."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Case:
    """`run()` does the work once, which is `steps` steps; `also` is timed beside it; `facts` are numbers said once."""

    run: Callable[[], Any]
    steps: int = 1
    also: dict[str, Callable[[], Any]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)


def warm_up(run: Callable[[], Any], seconds: float) -> None:
    """Runs at least three times and for some seconds: compilers, caches and folded programs come into being here."""
    start, times = time.perf_counter(), 0
    while times < 3 or time.perf_counter() - start < seconds:
        run()
        times += 1


def median_seconds(run: Callable[[], Any], seconds: float) -> tuple[float, int]:
    """The median time of a run, and how many ran in about so many seconds; the first run fills the caches only."""
    run()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times), len(times) + 1


def resident(name: str = "VmRSS") -> int:
    """VmRSS, or VmHWM, the highest of it, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
