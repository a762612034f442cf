"""What the machine is and can: a line of JSON, from the torch environment. `python -m benchmarks.machine`"""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch
from benchmarks.engines import ENGINES, THREADS, requirements
from benchmarks.plain_torch import CONVNETS
from torch.utils.flop_counter import FlopCounterMode

SIDE = 2048  # of the matrices


def matrix_rate(dtype: torch.dtype) -> float:
    """Operations a second of a product of two square matrices: the best of several, as it is a bound."""
    left, right = torch.randn(SIDE, SIDE).to(dtype), torch.randn(SIDE, SIDE).to(dtype)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(times)


def operations(network: str, training: bool) -> int:
    """Floating-point operations of convolutions and dense layers for one image of 128×128."""
    with torch.device("meta"):
        model, x = CONVNETS[network]().train(training), torch.zeros(1, 3, 128, 128)
        with FlopCounterMode(display=False) as counter:
            result = model(torch.zeros(2, 3, 128, 128) if training else x)
            if training:
                result.sum().backward()
    return counter.get_total_flops() // (2 if training else 1)


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of Python, and of the packages that the engines are."""
    shown = ("keras", "tensorflow-cpu", "jax", "torch", "onnxruntime", "openvino")
    environments = sorted({engine.environment for engine in ENGINES.values()})
    found = dict(line.split("==") for name in environments for line in requirements(name))
    return {"Python": platform.python_version(), **{name: found[name] for name in shown}}


def main() -> None:
    torch.set_num_threads(THREADS)
    said: dict[str, Any] = {
        "processor": processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "rates": {"float32": matrix_rate(torch.float32), "bfloat16": matrix_rate(torch.bfloat16)},
        "operations": {
            name: {"train": operations(name, True), "predict": operations(name, False)} for name in CONVNETS
        },
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
