"""A graph as a config, in Keras's layout: layers with their calls (`inbound_nodes`), inputs and outputs by history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lamina.base import tree
from lamina.base.errors import LaminaError
from lamina.base.serialization import deserialize_keras_object, serialize_keras_object
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, Operation
from lamina.models.operation_config import (
    describe_operation,
    is_operation,
    join_arguments,
    make_operation,
    split_arguments,
)


def describes_graph(config: dict[str, Any]) -> bool:
    return {"layers", "input_layers", "output_layers"} <= set(config)


def config_of(model: Any) -> dict[str, Any]:
    """The config of a functional model."""
    graph = model.graph
    inside = {id(node): index for index, node in _numbered_nodes(graph)}
    layers = []
    for operation in graph.operations:
        calls = [node for node in operation._inbound_nodes if id(node) in inside and not node.is_input]
        layers.append(_described(operation, calls, inside))

    def place(tensor: KerasTensor) -> list[Any]:
        return _history(tensor, inside)

    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": layers,
        "input_layers": tree.map_structure(place, graph.input_structure),
        "output_layers": tree.map_structure(place, graph.output_structure),
    }


def _numbered_nodes(graph: Any) -> list[tuple[int, Node]]:
    """The graph's nodes with their number among the calls of their operation inside this graph."""
    wanted = {id(node) for node in graph.topology.nodes}
    numbered: list[tuple[int, Node]] = []
    for operation in graph.operations:
        inside = [node for node in operation._inbound_nodes if id(node) in wanted]
        numbered.extend(enumerate(inside))
    return numbered


def _described(operation: Any, calls: list[Node], inside: dict[int, int]) -> dict[str, Any]:
    """A layer or function with its calls in this graph."""
    is_function = isinstance(operation, Operation)
    described = describe_operation(operation) if is_function else serialize_keras_object(operation)
    described["name"] = operation.name
    described["inbound_nodes"] = []
    for node in calls:
        args, kwargs = list(node.args), node.kwargs
        if is_function:
            own, args, kwargs = split_arguments(operation, args, kwargs)
            described["config"].update(serialize_keras_object(own))
        described["inbound_nodes"].append({"args": _refer(args, inside), "kwargs": _refer(kwargs, inside)})
    return described


def _history(tensor: KerasTensor, inside: dict[int, int]) -> list[Any]:
    assert tensor._keras_history is not None
    operation, node_index, tensor_index = tensor._keras_history
    return [operation.name, inside[id(operation._inbound_nodes[node_index])], tensor_index]


def _refer(structure: Any, inside: dict[int, int]) -> Any:
    """The arguments of a call in plain values; a symbolic tensor is the call that made it."""
    if isinstance(structure, KerasTensor):
        config = {
            "shape": list(structure.shape),
            "dtype": structure.dtype,
            "keras_history": _history(structure, inside),
        }
        return {"class_name": "__keras_tensor__", "config": config}
    if isinstance(structure, list | tuple):
        return [_refer(item, inside) for item in structure]
    if isinstance(structure, dict):
        return {key: _refer(item, inside) for key, item in structure.items()}
    return serialize_keras_object(structure)


def model_from(cls: type, config: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    """The functional model that a config describes."""
    operations = {entry["name"]: _make(entry, custom_objects) for entry in config["layers"]}
    own = {
        entry["name"]: {key: value for key, value in entry["config"].items() if key != "name"}
        for entry in config["layers"]
    }
    results: dict[Key, list[KerasTensor]] = {}
    for name, operation in operations.items():
        if operation._inbound_nodes:
            results[name, 0] = operation._inbound_nodes[0].output_tensors
    calls = {
        (entry["name"], index): call
        for entry in config["layers"]
        for index, call in enumerate(entry.get("inbound_nodes", []))
    }
    for name, index in _in_order(calls, set(results), config.get("name")):
        args, kwargs = _resolve(calls[name, index], results)
        if isinstance(operations[name], Operation):
            args, kwargs = join_arguments(operations[name].function, own[name], args, kwargs)
        operations[name](*args, **kwargs)
        results[name, index] = operations[name]._inbound_nodes[-1].output_tensors

    def find(places: Any) -> Any:
        if isinstance(places, dict):
            return {key: find(value) for key, value in places.items()}
        if len(places) == 3 and isinstance(places[0], str) and isinstance(places[1], int):
            return results[places[0], places[1]][places[2]]
        return [find(place) for place in places]

    from lamina.models.functional import Functional
    from lamina.models.model import Model

    make = Functional if cls is Model else cls
    options = {key: config[key] for key in ("name",) if key in config}
    inputs, outputs = find(config["input_layers"]), find(config["output_layers"])
    if isinstance(inputs, list) and len(inputs) == 1 and _is_single(config["input_layers"]):
        inputs = inputs[0]
    model = make(inputs=inputs, outputs=outputs, **options)
    if not config.get("trainable", True):  # its layers say for themselves whether they train
        model.trainable = False
    return model


def _is_single(places: Any) -> bool:
    return len(places) == 3 and isinstance(places[0], str)


def _make(entry: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    if is_operation(entry):
        return make_operation(entry)
    return deserialize_keras_object(
        {key: value for key, value in entry.items() if key != "build_config"}, custom_objects
    )


Key = tuple[str, int]  # a layer's name and the number of its call


def _in_order(calls: dict[Key, Any], made: set[Key], model: Any) -> Iterator[Key]:
    """The calls in the order in which the config lists them, but each behind those whose results it takes.

    Errors: a LaminaError for a call that takes the results of none, of itself, or of one that is not there.
    """
    needs = {key: [*_sources(call), *([(key[0], key[1] - 1)] if key[1] else [])] for key, call in calls.items()}
    begun: set[Key] = set()
    for first in calls:
        stack = [first]
        while stack:
            key = stack[-1]
            missing = [need for need in needs[key] if need not in made] if key not in made else []
            if not missing:
                stack.pop()
                if key not in made:
                    made.add(key)
                    yield key
                continue
            lost = [need for need in missing if need not in calls]
            if lost or key in begun:
                raise LaminaError(f"The config of model {model!r} refers to calls that are not in it: {key[0]!r}.")
            begun.add(key)
            stack.extend(reversed(missing))


def _sources(value: Any) -> list[Key]:
    """The calls whose results stand in the arguments of a call. Errors: none is a LaminaError."""
    found: list[Key] = []
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict) and part.get("class_name") == "__keras_tensor__":
            name, node_index, _ = part["config"]["keras_history"]
            found.append((name, node_index))
        elif isinstance(part, dict | list | tuple):
            waiting.extend(part.values() if isinstance(part, dict) else part)
    if not found:
        raise LaminaError("The config calls a layer or function on no tensor of the graph.")
    return found


def _resolve(call: dict[str, Any], results: dict[Key, list[KerasTensor]]) -> Any:
    """The arguments of a call with symbolic tensors in place."""

    def fill(value: Any) -> Any:
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            name, node_index, tensor_index = value["config"]["keras_history"]
            return results[name, node_index][tensor_index]
        if isinstance(value, dict) and "class_name" in value and "config" in value:
            return deserialize_keras_object(value)
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [fill(item) for item in value]
        return value

    return [fill(value) for value in call["args"]], {key: fill(value) for key, value in call["kwargs"].items()}
