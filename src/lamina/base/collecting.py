"""A pause for Python's search for cycles, which walks all of torch's objects, 0.1 s, when many new ones are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """A block that makes many objects which stay: modules, a model from a file. What is freed without the search for
    cycles is freed as ever, and where the caller has switched the search off it stays off.

    >>> with collector_paused():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
