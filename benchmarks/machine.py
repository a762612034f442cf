"""What the machine is and can: a line of JSON, from the torch environment. `python -m benchmarks.machine`"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.engines import ENGINES, THREADS, requirements
from benchmarks.plain_torch import CONVNETS
from torch.utils.flop_counter import FlopCounterMode

SIDE = 2048  # of the matrices
CHANNELS, IMAGES = 256, (8, 28, 28)  # of the convolution
SECONDS = 5.0


def matrix_rate(dtype: torch.dtype) -> float:
    """Operations a second of a product of two square matrices, or of a convolution of 3×3, whichever has more: the most
    that was seen in some seconds, as it is a bound. (torch's products are MKL's, its convolutions oneDNN's, and on some
    processors MKL takes twice as long.)"""
    batch, height, width = IMAGES
    left, right = torch.randn(SIDE, SIDE).to(dtype), torch.randn(SIDE, SIDE).to(dtype)
    images = torch.randn(batch, height, width, CHANNELS).to(dtype).permute(0, 3, 1, 2)
    kernel = torch.randn(CHANNELS, CHANNELS, 3, 3).to(dtype)
    ways: tuple[tuple[Callable[[], Any], int], ...] = (
        (lambda: torch.mm(left, right), 2 * SIDE**3),
        (lambda: torch.conv2d(images, kernel), 2 * 9 * CHANNELS**2 * batch * (height - 2) * (width - 2)),
    )
    most, end = 0.0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for function, count in ways:
            start = time.perf_counter()
            function()
            most = max(most, count / (time.perf_counter() - start))
    return most


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
