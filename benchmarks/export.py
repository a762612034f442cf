"""The plain-torch networks as ONNX files, in `.bench/onnx`. `python -m benchmarks.export NETWORK SIZE BATCH`"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.engines import BENCH, version


def onnx_path(network: str, size: int, batch: int) -> Path:
    """Where the file of a network is; a new version of torch writes a new one."""
    return BENCH / "onnx" / f"{network}-{size}-{batch}-torch{version('torch', 'torch')}.onnx"


def export(network: str, size: int, batch: int) -> None:
    import torch
    from benchmarks.plain_torch import CONVNETS

    path = onnx_path(network, size, batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = CONVNETS[network]().eval()
    begun = path.with_suffix(f".{os.getpid()}.onnx")
    torch.onnx.export(model, (torch.zeros(batch, 3, size, size),), str(begun), dynamo=True, external_data=False)
    begun.replace(path)


if __name__ == "__main__":
    export(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
