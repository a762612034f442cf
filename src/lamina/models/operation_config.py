"""A function's calls in a graph's config, as Keras writes them: the class's own arguments, and those of each call.

Keras makes a class of every function: `reshape(x, (2, 3))` is `Reshape(newshape=(2, 3))` called on x. An argument that
holds a symbolic tensor, or that Keras's classes take in their call, belongs to the call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.base.errors import LaminaError, UnsafeFileError
from lamina.base.registry import known_names, lookup, public_name
from lamina.base.serialization import deserialize_keras_object
from lamina.graph.keras_tensor import any_symbolic
from lamina.graph.node import Operation
from lamina.saving.dialect import operation_class

_OWN_MODULE = "lamina.ops"
_KERAS_MODULE = "keras.src.ops."
_OF_THE_CALL = frozenset(
    """
    a abs_ angle array bias branches choicelist condition condlist constant_values data default depthwise_kernel
    elements elems f false_fn fun index indices init init_val inputs kernel key loop_vars mask operands output
    pointwise_kernel pred predictions primals q query scale segment_ids sorted_sequence start start_indices step stop
    tangents target targets true_fn updates value values variable x x1 x2 xs y
    """.split()
)
_VARIADIC = inspect.Parameter.VAR_POSITIONAL


def is_operation(entry: dict[str, Any]) -> bool:
    """Whether an entry of a graph's layers is a function."""
    module = str(entry.get("module"))
    return module == _OWN_MODULE or module.startswith(_KERAS_MODULE)


def describe_operation(operation: Operation) -> dict[str, Any]:
    """The entry of a function, without its calls. Errors: a function that is not in lamina.ops is a LaminaError."""
    found = public_name(getattr(operation.function, "__lamina_op__", operation.function))
    if found is None:
        raise LaminaError(
            f"The function {operation.function.__name__!r} in the graph is not one of lamina.ops, so a file cannot "
            f"name it. Put it into a registered Layer."
        )
    module, class_name = operation_class(found[1]) if "." not in found[1] else (_OWN_MODULE, found[1])
    config = {"name": operation.name}
    registered = class_name if module != _OWN_MODULE else None
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}


def split_arguments(operation: Operation, args: Any, kwargs: Any) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """The class's arguments, and the call's by place and by name."""
    signature = inspect.signature(operation.function)
    own: dict[str, Any] = {}
    by_place: list[Any] = []
    by_name: dict[str, Any] = {}
    gap = False  # once a call's argument is left out, those behind it go by name
    bound = signature.bind(*args, **kwargs).arguments
    for name, parameter in signature.parameters.items():
        if name not in bound:
            gap = gap or name in _OF_THE_CALL
        elif parameter.kind is _VARIADIC:
            by_place.extend(bound[name])
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            own.update(bound[name])
        elif name not in _OF_THE_CALL and not any_symbolic(bound[name]):
            own[name] = bound[name]
        elif gap:
            by_name[name] = bound[name]
        else:
            by_place.append(_index(bound[name]) if name == "key" else bound[name])
    return own, by_place, by_name


def _index(key: Any) -> Any:
    """A list of indices as an array: a list in a file is the tuple of several axes' indices."""
    return np.asarray(key) if isinstance(key, list) and not any_symbolic(key) else key


def make_operation(entry: dict[str, Any]) -> Operation:
    """The function that an entry names. Errors: an unknown one is a LaminaError."""
    wanted = entry["class_name"].lower().replace("_", "")
    name = next((name for name in known_names("ops") if name.replace("_", "") == wanted), None)
    function = lookup("ops", name) if name is not None else None
    if function is None:
        raise UnsafeFileError(f"The config names the function {entry['class_name']!r}, which is none of lamina.ops.")
    return Operation(getattr(function, "__wrapped__", function), name=entry["config"].get("name", entry.get("name")))


def join_arguments(function: Callable[..., Any], own: dict[str, Any], args: Any, kwargs: Any) -> Any:
    """The arguments for the function itself, from those of the class and of the call."""
    waiting, by_place, by_name = list(args), list[Any](), {**_with_tuples(deserialize_keras_object(own)), **kwargs}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is _VARIADIC:
            by_place, waiting = by_place + waiting, []
        elif name in by_name and waiting:
            by_place.append(by_name.pop(name))
        elif waiting and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            value = waiting.pop(0)
            by_place.append(tuple(value) if name == "key" and isinstance(value, list) else value)
    return tuple(by_place), by_name


def _with_tuples(value: Any) -> Any:
    """JSON knows no tuples; the functions' own arguments (axes, shapes, widths) are tuples."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value
