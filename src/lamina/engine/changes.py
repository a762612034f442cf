"""Whether anything about any layer may have changed since somebody looked: one mark for all, for those who would else
look at every layer of a model at each call.

An attribute that is set on a layer, or a hook that is put on one, makes a new mark. Numbers in weights do not: torch
counts their versions.
"""

from __future__ import annotations

_now = object()


def note() -> None:
    """Something changed."""
    global _now
    _now = object()


def mark() -> object:
    """An object that is another one after a change, and after a process ended."""
    return _now
