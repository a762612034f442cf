"""What holds during a call: the training mode that was asked for, the compute type, the names around."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class CallContext(threading.local):
    """Per thread. `training`: as given to an enclosing call; `compute_dtype`: to which weights are cast when a layer
    reads them (mixed precision); `depth`: calls within calls; `names`: the path of what is being built."""

    training: bool | None = None
    compute_dtype: torch.dtype | None = None
    depth: int = 0
    names: tuple[str, ...] = ()


CONTEXT = CallContext()


@contextmanager
def name_scope(*names: str) -> Iterator[None]:
    before = CONTEXT.names
    CONTEXT.names = before + names
    try:
        yield
    finally:
        CONTEXT.names = before
