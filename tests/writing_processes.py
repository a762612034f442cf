"""What `test_writing.py` runs in a process of its own: saving that is killed or runs out of room, hashes, memory.

python tests/writing_processes.py killed|full|hashes|memory FOLDER NAME   prints what came of it as JSON
"""

from __future__ import annotations

import errno
import gc
import hashlib
import io
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lamina
from lamina.saving import files
from watching import reset_peak, resident

SECONDS = [0.001 * 1.7**step for step in range(12)]  # after which saving is killed: from 1 ms to 0.35 s


def trained(seed: int) -> Any:
    """A model of 1 MB with an optimizer's state, the same for a seed in every process."""
    lamina.utils.clear_session()
    lamina.utils.set_random_seed(seed)
    model = lamina.Sequential(
        [
            lamina.Input((8, 8, 3)),
            lamina.layers.Conv2D(64, 3, name="first"),
            lamina.layers.Conv2D(64, 3, activation="relu"),
            lamina.layers.BatchNormalization(),
            lamina.layers.Flatten(),
            lamina.layers.Dense(20),
        ]
    )
    model.compile("adam", "mse")
    model.fit(lamina.ops.ones((4, 8, 8, 3)), lamina.ops.ones((4, 20)), verbose=0, shuffle=False)
    return model


def saver(model: Any, name: str) -> Callable[[Path], None]:
    return model.save_weights if name.startswith("weights") or ".weights." in name else model.save


class WatchedRaw(io.FileIO):
    """What HDF5 writes to, behind the file's buffer."""

    def write(self, data: Any) -> int:
        Watched.before_write()
        return super().write(data)


class Watched(io.BufferedRandom):
    """A file that calls a function before each writing."""

    before_write: Callable[[], None]

    def write(self, data: Any) -> int:
        Watched.before_write()
        return super().write(data)


def watch(before_write: Callable[[], None]) -> None:
    Watched.before_write = staticmethod(before_write)
    files.open = lambda path, mode: Watched(WatchedRaw(path, mode.replace("b", "")))  # type: ignore[attr-defined]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str | int) -> None:
    """Makes this process kill itself: at a writing with this number, or before or after a step of the system."""
    if isinstance(point, int):
        left = iter(range(point, -1, -1))
        watch(lambda: die() if next(left) == 0 else None)
        return
    when, _, step = point.partition(" ")
    function = getattr(os, step)

    def deadly(*arguments: Any) -> None:
        if when == "after":
            function(*arguments)
        die()

    setattr(os, step, deadly)


def forked(action: Callable[[], None], seconds: float | None = None) -> int:
    """Runs an action in a copy of this process, killed after some seconds if given. Returns its exit status."""
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def killed(folder: Path, name: str) -> dict[str, Any]:
    """Kills saving at every kind of point; says each time what stands at the path and what else lies there."""
    path = folder / name
    contents = {}
    for which, seed in (("old", 0), ("new", 1)):
        save = saver(trained(seed), name)
        save(path)
        contents[which] = path.read_bytes()
    count = 0

    def counted() -> None:
        nonlocal count
        count += 1

    watch(counted)
    save(path)
    del files.open  # type: ignore[attr-defined]
    numbered = sorted({0, 1, count // 4, count // 2, count - 2, count - 1})
    found = []

    def look(point: Any, status: int) -> None:
        now = path.read_bytes()
        others = [other.name for other in folder.iterdir() if other.name != name]
        stands = next((which for which, content in contents.items() if content == now), "neither")
        found.append({"point": point, "signal": os.WTERMSIG(status), "stands": stands, "others": others})

    for point in [*numbered, "before fsync", "after fsync", "before replace", "after replace"]:
        path.write_bytes(contents["old"])
        look(point, forked(lambda: (arm(point), save(path))))  # noqa: B023  # it runs at once
    for seconds in SECONDS:
        path.write_bytes(contents["old"])
        look(seconds, forked(lambda: [save(path) for _ in range(1000)], seconds))
    save(path)
    look("saved again", 0)
    return {"writings": count, "found": found}


def full(folder: Path, name: str) -> dict[str, Any]:
    """Saves where files may not grow beyond some sizes, then where they may; says what was raised and what stands."""
    path = folder / name
    saver(trained(0), name)(path)
    old = path.read_bytes()
    save = saver(trained(1), name)
    found = []
    for limit in (0, 100, len(old) // 3, len(old) // 2, len(old) - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            save(path)
            raised, message = None, ""
        except OSError as error:
            raised, message = errno.errorcode[error.errno or 0], str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        others = [other.name for other in folder.iterdir() if other.name != name]
        found.append({"raised": raised, "message": message, "whole": path.read_bytes() == old, "others": others})
    save(path)
    return {"found": found, "saved again": path.read_bytes() != old}


def hashes(folder: Path, names: str) -> dict[str, str]:
    """The hash of a file in each format of a model that was trained in this process."""
    model, result = trained(0), {}
    for name in names.split(","):
        saver(model, name)(folder / name)
        result[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return result


def wide() -> Any:
    """38 MB in convolutions, the largest kernel a sixteenth of them. ResNet50: 102 MB, a tenth."""
    convolutions = [lamina.layers.Conv2D(256, 3, padding="same") for _ in range(16)]
    return lamina.Sequential([lamina.Input((8, 8, 256)), *convolutions])


def memory(folder: Path, names: str) -> dict[str, float]:
    """What saving, loading and loading weights need at most beyond what was there, in parts of the weights."""
    found: dict[str, float] = {}

    def measure(what: str, step: Callable[[], Any]) -> None:
        gc.collect()
        reset_peak()
        before = resident("VmRSS")
        result = step()
        found[what] = (resident("VmHWM") - before) / size
        del result

    model = wide()
    size = sum(weight.nbytes for weight in model.weights)
    for name in names.split(","):
        path, save = folder / name, saver(model, name)
        small = trained(0)
        saver(small, name)(folder / f"small_{name}")  # what is imported at the first time is no part of it
        small.load_weights(folder / f"small_{name}")
        measure(f"save {name}", lambda: save(path))  # noqa: B023  # it runs at once
        measure(f"load weights {name}", lambda: model.load_weights(path))  # noqa: B023
        if ".weights." not in name:
            measure(f"load {name}", lambda: lamina.models.load_model(path))  # noqa: B023
    return found


if __name__ == "__main__":
    what, folder, name = sys.argv[1:]
    actions = {"killed": killed, "full": full, "hashes": hashes, "memory": memory}
    print(json.dumps(actions[what](Path(folder), name)))
