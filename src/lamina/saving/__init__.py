"""Floor 8: `.keras`, `.weights.h5`, legacy `.h5` weights, safetensors, and the registry for custom classes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lamina.base.registry import (
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from lamina.base.serialization import deserialize_keras_object, serialize_keras_object

if TYPE_CHECKING:
    from lamina.saving.archive import load_model, save_model
    from lamina.saving.channels import adapt_kernel
    from lamina.saving.editor import KerasFileEditor
    from lamina.saving.weight_files import load_weights, save_weights

CustomObjectScope = custom_object_scope

__all__ = [
    "CustomObjectScope",
    "KerasFileEditor",
    "adapt_kernel",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]

_LATER: dict[str, str] = {  # imported when first named: they bring h5py
    "KerasFileEditor": "editor",
    "adapt_kernel": "channels",
    "load_model": "archive",
    "load_weights": "weight_files",
    "save_model": "archive",
    "save_weights": "weight_files",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"lamina.saving has no {name!r}.")
    value = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
