"""Copies of models: the same architecture with fresh weights, or the same weights too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lamina.base.registry import custom_object_scope
from lamina.saving.dialect import from_keras
from lamina.saving.loading import loading


def model_from_json(json_string: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """The model that `model.to_json()` described, with fresh weights.

    Its weights may take three quarters of the free memory. Errors: an UnsafeFileError for code, for unknown names and
    for too large a model; a LaminaError for what describes no model.
    """
    from lamina.saving.guard import parsed_config  # it brings h5py

    with loading("The description", custom_objects) as load:
        model = load.build(from_keras(parsed_config(json_string, "The description")))
        load.finish()
        return model


def clone_model(model: Any, input_tensors: Any = None, clone_function: Callable[[Any], Any] | None = None) -> Any:
    """A model of the same architecture with fresh weights.

    `clone_function(layer)` makes the copy of a layer (by default from its config); `input_tensors`, symbolic, take the
    place of the inputs. Errors: a subclassed model is refused unless its config says how it is made.
    """
    if input_tensors is not None or clone_function is not None:
        from lamina.models.rebuilding import rebuild

        return rebuild(model, input_tensors, clone_function)
    with custom_object_scope(classes_in(model)):
        return type(model).from_config(model.get_config())


def classes_in(model: Any) -> dict[str, Any]:
    """The classes of the model's layers by name: in the same process they need no registration."""
    found: dict[str, Any] = {}
    for layer in model._flatten_layers():
        if not type(layer).__module__.startswith("lamina."):
            found[type(layer).__name__] = type(layer)
    return found


def copy_model(model: Any, memo: dict[int, Any]) -> Any:
    """What `copy.deepcopy` of a functional model gives: the same architecture and the same weights, not shared."""
    with custom_object_scope(classes_in(model)):
        twin = type(model).from_config(model.get_config())
    memo[id(model)] = twin
    with torch.no_grad():
        for mine, other in zip(model.weights, twin.weights, strict=True):
            other.copy_(mine)
    return twin
