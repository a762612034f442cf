"""Small helpers: seeds, downloads, one-hot targets, plots."""

from __future__ import annotations

from typing import Any

from lamina.base.late import late
from lamina.base.registry import custom_object_scope as custom_object_scope
from lamina.base.registry import (
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from lamina.base.serialization import deserialize_keras_object, serialize_keras_object
from lamina.callbacks import Progbar
from lamina.data import PyDataset, get_file, normalize, pad_sequences, to_categorical
from lamina.data import PyDataset as Sequence
from lamina.engine.random import set_random_seed
from lamina.graph.keras_tensor import is_keras_tensor
from lamina.training.batches import pack_x_y_sample_weight, unpack_x_y_sample_weight

CustomObjectScope = custom_object_scope


def plot_model(model: Any, to_file: Any = "model.png", *args: Any, **kwargs: Any) -> Any:
    """Draws a model into an SVG or PNG file (see `lamina.explain.plot_model`)."""
    from lamina.explain.plot import plot_model as plot

    return plot(model, to_file, *args, **kwargs)


def clear_session() -> None:
    """Starts the automatic names anew."""
    from lamina.base.names import reset_names

    reset_names()


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return late("compat").old_name("utils", name)


__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "is_keras_tensor",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
    "unpack_x_y_sample_weight",
]
