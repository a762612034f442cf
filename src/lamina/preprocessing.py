"""`keras.preprocessing`: reading images and texts from folders. lamina does not have it yet."""

from __future__ import annotations

from typing import Any

from lamina.base.errors import UnfinishedError

_UNFINISHED = (
    "image image_dataset_from_directory sequence text_dataset_from_directory timeseries_dataset_from_array"
).split()


def __getattr__(name: str) -> Any:
    if name in _UNFINISHED:
        raise UnfinishedError(f"lamina.preprocessing does not have {name!r} yet (pad_sequences is in lamina.utils).")
    raise AttributeError(f"lamina.preprocessing has no {name!r}.")
