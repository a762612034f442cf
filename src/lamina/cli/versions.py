"""What `lamina version` says."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = ("numpy", "h5py", "safetensors", "optree", "rich", "typer", "pillow", "fast-sugiyama", "resvg-py", "onnx")


def versions() -> dict[str, str]:
    """By name: lamina, the engine, the device, Python, and the libraries that are installed."""
    import torch

    import lamina
    from lamina.engine.device import current_device

    device = current_device()
    threads = torch.get_num_threads()
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{threads} thread{'s' * (threads > 1)}"
    found = {
        "lamina": lamina.__version__,
        "engine": f"torch {torch.__version__}",
        "device": f"{device}, {kind}",
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    }
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
