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
    """Operations a second of a product of two square matrices: the best of several, as it is a bound, by torch's matrix
    product and by oneDNN's, which a 1×1 convolution is: MKL takes twice as long on some processors."""
    left, right = torch.randn(SIDE, SIDE).to(dtype), torch.randn(SIDE, SIDE).to(dtype)
    image = left.reshape(1, SIDE, SIDE, 1).contiguous(memory_format=torch.channels_last)
    kernel = right.reshape(SIDE, SIDE, 1, 1)
    times = []
    for _ in range(12):
        for function, one, other in ((torch.mm, left, right), (torch.conv2d, image, kernel)):
            start = time.perf_counter()
            function(one, other)
            times.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(times)


def operations(network: str) -> int:
    """Floating-point operations of convolutions and dense layers for one image of 128×128."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        CONVNETS[network]().eval()(torch.zeros(1, 3, 128, 128))
    return counter.get_total_flops()


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
        # Backwards, each product has two of its size: by the images' and by the weights' gradients.
        "operations": {name: {"train": 3 * operations(name), "predict": operations(name)} for name in CONVNETS},
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
