"""A model run anew through copies of its layers: what `clone_model` does with a clone function or given inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lamina.base import tree
from lamina.base.errors import LaminaError
from lamina.graph.function import Graph, symbolic_leaves
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, Operation
from lamina.layers.input_layer import Input, InputLayer
from lamina.layers.layer import Layer
from lamina.models.functional import Functional
from lamina.models.sequential import Sequential

Clone = Callable[[Any], Any]
Replayed = Callable[[Node, tuple[Any, ...], dict[str, Any]], Any]


def rebuild(model: Any, input_tensors: Any = None, clone_function: Clone | None = None) -> Any:
    """A model of the same calls on copies that `clone_function(layer)` makes (a nested model is one layer), starting
    from `input_tensors` if they are given. Errors: a subclassed model, or a copy that is no layer, is a LaminaError."""
    clone = _checked(clone_function or _from_config)
    if isinstance(model, Sequential):
        return _rebuilt_sequential(model, input_tensors, clone)
    if isinstance(model, Functional):
        return _rebuilt_functional(model, input_tensors, clone)
    raise LaminaError(f"{model.title} is a subclassed model: it has no graph that could be run through other layers.")


def _from_config(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _checked(clone_function: Clone) -> Clone:
    def clone(layer: Any) -> Any:
        copy = clone_function(layer)
        if not isinstance(copy, Layer):
            raise LaminaError(f"clone_function returned {copy!r:.80} for {layer.title}; it returns a layer.")
        return copy

    return clone


def _rebuilt_sequential(model: Sequential, input_tensors: Any, clone: Clone) -> Sequential:
    layers = [clone(layer) for layer in model.layers]
    if input_tensors is not None:
        given = symbolic_leaves(input_tensors, "input_tensors")
        if len(given) != 1:
            raise ValueError(f"{model.title} has one input; input_tensors has {len(given)}.")
        layers.insert(0, given[0] if _is_input(given[0]) else Input(batch_shape=given[0].shape, dtype=given[0].dtype))
    elif isinstance(model.operations[0] if model.operations else None, InputLayer):
        layers.insert(0, _from_config(model.operations[0]))
    return Sequential(layers, name=model.name, trainable=model.trainable)


def _fresh_input(tensor: KerasTensor) -> KerasTensor:
    """An input like this one; a model may also begin in the middle of a graph."""
    history = tensor._keras_history
    if history is not None and isinstance(history.operation, InputLayer):
        return _from_config(history.operation).output
    return Input(batch_shape=tensor.shape, dtype=tensor.dtype)


def _is_input(tensor: KerasTensor) -> bool:
    return tensor._keras_history is not None and isinstance(tensor._keras_history.operation, InputLayer)


def _rebuilt_functional(model: Functional, input_tensors: Any, clone: Clone) -> Functional:
    if input_tensors is None:
        inputs = tree.map_structure(_fresh_input, model.input)
    else:
        inputs = input_tensors
    starts = symbolic_leaves(inputs, "input_tensors")
    if len(starts) != len(model.inputs):
        raise ValueError(f"{model.title} has {len(model.inputs)} inputs; input_tensors has {len(starts)}.")
    copies: dict[int, Any] = {}

    def call(node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operation = node.operation
        if id(operation) not in copies:
            is_function = isinstance(operation, Operation)
            copies[id(operation)] = (
                Operation(operation.function, name=operation.name) if is_function else clone(operation)
            )
        return copies[id(operation)](*args, **kwargs)

    return Functional(inputs, replay(model.graph, starts, call), name=model.name)


def replay(graph: Graph, starts: Sequence[KerasTensor], call: Replayed) -> Any:
    """Makes the calls of a graph once more on other inputs, one after the other; returns what stands for its outputs.

    `call(node, args, kwargs)` is asked for each call of the graph, in an order in which they can run; its arguments are
    what earlier calls returned in place of the graph's own tensors.
    """
    made = {id(old): new for old, new in zip(graph.inputs, starts, strict=True)}

    def renewed(structure: Any) -> Any:
        return tree.map_structure(lambda leaf: made.get(id(leaf), leaf), structure)

    for node in graph.topology.nodes:
        if node.is_input or all(id(tensor) in made for tensor in node.output_tensors):
            continue
        outputs = call(node, renewed(node.args), renewed(node.kwargs))
        made.update((id(old), new) for old, new in zip(node.output_tensors, tree.flatten(outputs), strict=True))
    return renewed(graph.output_structure)
