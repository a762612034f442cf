"""Values that hold inside a `with` block, per thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Scoped(threading.local, Generic[T]):
    """A value per thread; `with scoped.set(v):` changes it for the block.

    >>> depth = Scoped(0)
    >>> with depth.set(1): depth.value
    1
    >>> depth.value
    0
    """

    def __init__(self, default: T):
        self.value: T = default

    @contextmanager
    def set(self, value: T) -> Iterator[None]:
        before = self.value
        self.value = value
        try:
            yield
        finally:
            self.value = before
