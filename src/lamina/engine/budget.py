"""How much memory a model from a file may take, and weights that wait on the meta device until their values fit."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lamina.base.errors import UnsafeFileError
from lamina.base.scope import Scoped
from lamina.base.trust import current_description

SHARE = 0.75  # of the free memory, by default
_UNKNOWN = 8 * 2**30  # where the system does not say how much is free


class Budget:
    """Bytes that variables may take. While `building`, they are counted and wait on the meta device."""

    remedy = "For a file that you trust, give load_model(memory_limit=) in bytes."

    def __init__(self, limit: int | None = None):
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise ValueError(f"memory_limit is a number of bytes, or None for a share of what is free; got {limit!r}.")
        self.limit = int(free_memory() * SHARE) if limit is None else limit
        self.origin = f", {SHARE:.0%} of what is free" if limit is None else ""
        self.used = 0
        self.building = True
        self.waiting: list[Any] = []

    def charge(self, shape: Sequence[int], dtype: torch.dtype, name: str) -> None:
        """Counts a variable before it is made. Errors: an UnsafeFileError when it does not fit any more."""
        size = math.prod(shape) * dtype.itemsize
        if self.used + size > self.limit:
            raise UnsafeFileError(
                f"The model does not fit into memory: with {name} of shape {tuple(shape)} it takes "
                f"{in_words(self.used + size)}, and the limit is {in_words(self.limit)}"
                f"{self.origin}. {'Nothing was allocated. ' if self.building else ''}{self.remedy}"
            )
        self.used += size

    def materialize(self) -> None:
        """Initial values for the variables that still have no memory; those made from now on get it at once."""
        self.building = False
        for variable in self.waiting:
            variable.allocate(fill=True)


class FreeMemory(Budget):
    """For configs outside a file (`from_config`, `clone_model`): variables get memory at once, as long as there is."""

    remedy = 'To look at it without its memory, make it in a block of lamina.device("meta").'

    def __init__(self) -> None:
        super().__init__(free_memory())
        self.origin = ", all that is free"
        self.building = False


_current: Scoped[Budget | None] = Scoped(None)


def current_budget() -> Budget | None:
    """The budget of the file that is being loaded, else of the config that is being carried out, else None."""
    description = current_description()
    if _current.value is not None or description is None:
        return _current.value
    if description.budget is None:
        description.budget = FreeMemory()
    return description.budget


def memory_limit() -> int:
    """Bytes that what is read from a file may take: the current budget's, or a share of what is free."""
    return Budget().limit if _current.value is None else _current.value.limit


@contextmanager
def budget_scope(limit: int | None) -> Iterator[Budget]:
    """A block in which variables are counted and, as long as `building`, get no memory."""
    budget = Budget(limit)
    with _current.set(budget):
        yield budget


def free_memory() -> int:
    """Bytes that this process can still take: what is free, or less where a container has a limit.

    >>> free_memory() > 0
    True
    """
    found = [value for value in (_available(), _left_in_container()) if value is not None]
    return min(found, default=_UNKNOWN)


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _left_in_container() -> int | None:
    """What a control group of Linux leaves; pages that only repeat files are as good as free."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return None if limit == "max" else max(int(limit) - int(used) + int(rows.get("inactive_file", 0)), 0)
    except (OSError, ValueError):
        return None


def in_words(size: int) -> str:
    """A number of bytes for people.

    >>> in_words(4 * 10**12), in_words(2048)
    ('3.6 TiB', '2 KiB')
    """
    amount, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}".replace(".0 ", " ")
