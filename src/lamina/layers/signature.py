"""What a layer's `call` and `build` take, read once per class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from lamina.base import tree
from lamina.graph.keras_tensor import KerasTensor


@dataclass(frozen=True)
class CallSignature:
    """The argument names of `call`, and which of Keras's special arguments it has."""

    signature: inspect.Signature
    names: tuple[str, ...]
    takes_training: bool
    takes_mask: bool
    mask_names: tuple[str, ...]

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name, `*args` under its own name, defaults left out."""
        return dict(self.signature.bind(*args, **kwargs).arguments)


@cache
def call_signature(function: Callable[..., Any]) -> CallSignature:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    parameters = parameters[1:]  # `self`, whatever it is called
    signature = signature.replace(parameters=parameters)
    names = tuple(parameter.name for parameter in parameters)
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    masks = tuple(name for name in names if name == "mask" or name.endswith("_mask"))
    return CallSignature(signature, names, "training" in names or open_ended, "mask" in names, masks)


@cache
def build_names(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in positional)


def shape_of(value: Any) -> Any:
    """The shape of a tensor, or the same structure of shapes; None where there is no tensor."""
    if isinstance(value, KerasTensor):
        return value.shape
    if isinstance(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shape_of(item) for item in value] if isinstance(value, list) else tuple(map(shape_of, value))
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def tensor_arguments(bound: dict[str, Any]) -> dict[str, Any]:
    """The arguments that hold a tensor (real or symbolic), by name."""
    return {
        name: value
        for name, value in bound.items()
        if any(isinstance(leaf, KerasTensor) or hasattr(leaf, "shape") for leaf in tree.flatten(value))
    }
