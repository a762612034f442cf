"""Automatic names, as Keras gives them: `dense`, `dense_1`, counted per process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

_counts: dict[str, int] = {}


@lru_cache(maxsize=4096)  # a model's config asks for the same few hundred names thousands of times
def to_snake_case(name: str) -> str:
    """
    >>> to_snake_case("Conv2DTranspose"), to_snake_case("MaxPooling1D")
    ('conv2d_transpose', 'max_pooling1d')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(prefix: str) -> str:
    """The prefix in snake case, with `_1`, `_2`, ... from the second time on."""
    prefix = to_snake_case(prefix)
    count = _counts.get(prefix, 0)
    _counts[prefix] = count + 1
    return prefix if count == 0 else f"{prefix}_{count}"


@contextmanager
def uncounted() -> Iterator[None]:
    """Names given inside do not count: afterwards the counters go on as before."""
    before = dict(_counts)
    try:
        yield
    finally:
        _counts.clear()
        _counts.update(before)


def reset_names() -> None:
    """Starts the counters anew (`clear_session`)."""
    _counts.clear()
