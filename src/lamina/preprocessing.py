"""`keras.preprocessing`: reading images and texts from folders. lamina does not have it yet."""

from __future__ import annotations

from typing import Any

from lamina.base.errors import UnfinishedError


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise UnfinishedError(f"lamina.preprocessing does not have {name!r} yet.")
