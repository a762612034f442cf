"""Saving and loading beside Keras on the same machine: seconds, and the memory that it takes beyond what was there.

.venv/bin/python benchmarks/files.py [application] [rounds]

Each line of each library runs in a process of its own, first lamina, then Keras, and so on for some rounds; the least
time counts. Memory is the highest resident size while it runs less that before, in parts of the weights, so a loaded
model itself is 1. Linux only (/proc). lamina's files are on the disk when it returns (fsync), Keras's need not be.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ACTIONS = {  # what is done: (the method or function, the ending)
    "save .keras": ("save", ".keras"),
    "save .weights.h5": ("save_weights", ".weights.h5"),
    "save .h5": ("save", ".h5"),
    "save .safetensors": ("save_weights", ".safetensors"),
    "load .keras": ("load_model", ".keras"),
    "load .h5": ("load_model", ".h5"),
    "load weights .keras": ("load_weights", ".keras"),
    "load weights .weights.h5": ("load_weights", ".weights.h5"),
    "load weights .safetensors": ("load_weights", ".safetensors"),
}
STEADY = {  # freed memory goes back at once, so that it is not taken for what the next step needs
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
REPEATS = "4"


def resident(name: str) -> int:
    """VmRSS or VmHWM, the highest of it, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def measured(library: str, action: str, application: str, folder: str, repeats: str) -> dict[str, float]:
    """The least seconds, and the memory of the first time, of an action in this process.

    A file of the same library must be there for loading; if none is, it is made first.
    """
    if library == "keras":
        os.environ["KERAS_BACKEND"] = "torch"
    module: Any = __import__(library)
    method, ending = ACTIONS[action]
    file = f"{folder}/{library}{ending}"

    def build() -> Any:
        return getattr(module.applications, application)(weights=None)

    def save(model: Any, path: str) -> None:
        (model.save_weights if ending in (".weights.h5", ".safetensors") else model.save)(path)

    def step(model: Any, path: str) -> Any:
        return module.models.load_model(path) if method == "load_model" else getattr(model, method)(path)

    tiny = module.Sequential([module.Input((2,)), module.layers.Dense(2)])
    save(tiny, f"{folder}/tiny{ending}")
    step(tiny, f"{folder}/tiny{ending}")  # what is imported at the first time is no part of it
    if not os.path.exists(file):
        save(build(), file)
    gc.collect()
    model = None if method == "load_model" else build()
    Path("/proc/self/clear_refs").write_text("5")  # the highest size starts anew
    before, times, peaks, result = resident("VmRSS"), [], [], None
    for _ in range(int(repeats)):
        del result
        start = time.perf_counter()
        result = step(model, file)
        times.append(time.perf_counter() - start)
        peaks.append(resident("VmHWM") - before)
    weights = sum(array.nbytes for array in (model or result).get_weights())
    return {"seconds": min(times), "memory": peaks[0] / weights}


def in_process(*arguments: str) -> dict[str, float] | None:
    done = subprocess.run(
        [sys.executable, __file__, "--", *arguments], capture_output=True, text=True, env={**os.environ, **STEADY}
    )
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def main(application: str = "ResNet50", rounds: str = "3") -> None:
    print(f"{application:<26} {'lamina':>16} {'Keras':>18} {'time':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for action in ACTIONS:
            results: dict[str, list[dict[str, float]]] = {"lamina": [], "keras": []}
            for _ in range(int(rounds)):
                for library, found in results.items():
                    result = in_process(library, action, application, folder, REPEATS)
                    if result is not None:
                        found.append(result)
            least = {
                library: {key: min(one[key] for one in found) for key in ("seconds", "memory")} if found else None
                for library, found in results.items()
            }
            cells = ["" if one is None else f"{one['seconds']:6.3f} s {one['memory']:5.2f} ×" for one in least.values()]
            mine, theirs = least["lamina"], least["keras"]
            ratio = f"{mine['seconds'] / theirs['seconds']:.2f}" if mine and theirs else ""
            print(f"{action:<26} {cells[0]:>16} {cells[1]:>18} {ratio:>8}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--"]:
        print(json.dumps(measured(*sys.argv[2:])))
    else:
        main(*sys.argv[1:])
