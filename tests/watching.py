"""What a piece of code does to the machine: files, sockets, processes, code, memory. Python's audit hook sees it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lamina

_FORBIDDEN = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile",
    "pickle.", "urllib.", "http.", "ftplib.", "shutil.", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link",
    "os.symlink", "os.chmod", "os.truncate", "tempfile.", "marshal.", "code.__new__", "function.__new__",
    "ctypes.dlopen", "import", "exec", "compile",
)  # fmt: skip
_CODE = tuple(str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix, Path(lamina.__file__).parent))
_ASKED = ("/proc/", "/sys/fs/cgroup/")  # how much memory is free

_seen: list[tuple[str, Any]] | None = None


def _hook(event: str, arguments: Any) -> None:
    if _seen is not None and (event == "open" or event.startswith(_FORBIDDEN)):
        _seen.append((event, arguments))


sys.addaudithook(_hook)  # it cannot be taken off; outside of `watched` it does nothing


def _harmless(event: str, arguments: Any, allowed: tuple[Path, ...]) -> bool:
    if event != "open":
        return False
    path, mode, flags = arguments
    if isinstance(path, int):
        return True
    reads = not (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not set(mode or "") & set("wax+")
    place = os.path.realpath(os.fsdecode(path))
    return reads and (place in [str(one.resolve()) for one in allowed] or place.startswith((*_CODE, *_ASKED)))


@contextmanager
def watched(*paths: Path, memory: int = 200 * 2**20, seconds: float = 20) -> Iterator[None]:
    """A block that may read the files at `paths` and nothing else, in bounded memory and time.

    Errors: an AssertionError that lists what it did. Reads of installed code (a traceback does that) do not count.
    """
    global _seen
    reset_peak()
    before, start = resident("VmRSS"), time.monotonic()
    _seen = []
    try:
        yield
    finally:
        seen, _seen = _seen, None
    done = [one for one in seen if not _harmless(*one, paths)]
    assert not done, done
    assert resident("VmHWM") - before < memory, f"{(resident('VmHWM') - before) / 2**20:.0f} MiB were taken"
    assert time.monotonic() - start < seconds


def resident(which: str) -> int:
    """Bytes of memory of this process, now (VmRSS) or at most since `reset_peak` (VmHWM); 0 outside Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


def reset_peak() -> None:
    with suppress(OSError):  # another system; there the limit is not seen
        Path("/proc/self/clear_refs").write_text("5")
