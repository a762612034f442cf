"""G: inputs, outputs and layers that are not connected as they seem to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lamina.explain.checking.registry import Problem, check
from lamina.explain.checking.shapes import one_line
from lamina.explain.checking.subject import Subject, View
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, node_of
from lamina.layers.layer import Layer
from lamina.layers.weights import children
from lamina.models.sequential import Sequential


@check("G201", "cut-inside-block", "the model ends inside a residual block, whose branches are never joined")
def cut_inside_block(subject: Subject) -> Iterator[Problem]:
    for view in subject.views:
        parts = view.model.__dict__.get("_cut_in_block")
        if parts is not None:
            yield Problem(
                f"{view.prefix}{parts['layer']}", parts["headline"], one_line(parts["because"]), parts["mend"]
            )


@check("G202", "output-is-input", "one of several outputs is an input, handed on unchanged")
def output_is_input(subject: Subject) -> Iterator[Problem]:
    for view in subject.views:
        if len(view.graph.outputs) < 2:
            continue
        for number, tensor in enumerate(view.graph.outputs):
            if id(tensor) in view.inputs:
                name = node_of(tensor).operation.name
                yield Problem(
                    f"{view.prefix}{name}",
                    f"Output {number} of {len(view.graph.outputs)} is the input {name!r} itself.",
                    "no layer lies between: calling the model only hands these numbers back (the first of model.layers "
                    "is the input)",
                    f"leave output {number} out: outputs from model.layers[1:]",
                )


@check("G203", "input-without-influence", "an input on which no output depends")
def input_without_influence(subject: Subject) -> Iterator[Problem]:
    for view in subject.views:
        used = _influence(view.graph, range(len(view.graph.outputs)))
        for number, tensor in enumerate(view.graph.inputs):
            if number not in used:
                name = node_of(tensor).operation.name
                yield Problem(
                    f"{view.prefix}{name}",
                    f"No output of {view.model.name!r} depends on the input {name!r}.",
                    "the model asks for it, and whatever it is given changes nothing",
                    "connect it (was another input used twice?), or leave it out of inputs",
                )


def _influence(graph: Graph, outputs: Any) -> set[int]:
    """The numbers of the inputs on which the outputs of these numbers depend; nested models are looked into."""
    given = {id(tensor): number for number, tensor in enumerate(graph.inputs)}
    found: set[int] = set()
    seen: set[int] = set()
    waiting: list[KerasTensor] = [graph.outputs[number] for number in outputs]
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if id(tensor) in given:
            found.add(given[id(tensor)])
            continue
        node = node_of(tensor)
        inner = getattr(node.operation, "graph", None)
        if inner is not None and len(inner.inputs) == len(node.input_tensors):
            assert tensor._keras_history is not None
            used = _influence(inner, [tensor._keras_history.tensor_index])
            waiting.extend(node.input_tensors[number] for number in used)
        else:
            waiting.extend(node.input_tensors)
    return found


@check("G204", "layer-off-path", "a layer that was made, and lies on no path from the inputs to the outputs")
def layer_off_path(subject: Subject) -> Iterator[Problem]:
    for view in subject.views:
        if view.model.__dict__.get("_cut_in_block") is None:  # otherwise G201 names what is left aside
            yield from _left_aside(view)
        yield from _added_later(view)
    yield from _never_called(subject)


_NO_PART = "it takes no part in what the model computes, and training never changes it"


def _left_aside(view: View) -> Iterator[Problem]:
    """Layers that read a tensor inside the graph, and are in no model."""
    for node in view.graph.topology.nodes:
        inner = [tensor for tensor in node.output_tensors if id(tensor) not in view.outputs]  # outputs are built on
        for reader in _readers_anywhere(inner):
            if isinstance(reader.operation, Layer) and not reader.in_graph:
                yield Problem(
                    f"{view.prefix}{reader.operation.name}",
                    f"{reader.operation.title} reads the output of {node.operation.name!r}, and no model holds it.",
                    _NO_PART,
                    "connect its output to an output of the model, or remove it",
                )


def _readers_anywhere(tensors: list[KerasTensor]) -> list[Node]:
    """The calls that read one of these tensors, in this graph or not."""
    wanted = {id(tensor) for tensor in tensors}
    readers = [node for tensor in tensors for node in node_of(tensor).operation._outbound_nodes]
    return list({id(node): node for node in readers if any(id(one) in wanted for one in node.input_tensors)}.values())


def _added_later(view: View) -> Iterator[Problem]:
    """Layers that `add` put behind the outputs of a Sequential after these were taken."""
    for tensor in [] if isinstance(view.model, Sequential) else view.graph.outputs:
        layer = getattr(tensor, "_outgrown_by", None)
        if layer is not None:
            yield Problem(
                f"{view.prefix}{layer.name}",
                f"{layer.title} was added behind {node_of(tensor).operation.name!r} after the outputs of "
                f"{view.model.name!r} had been taken from there.",
                "a model keeps the outputs that it was made of; add() gives the Sequential new ones",
                "make the model after the last add(): Model(sequential.inputs, sequential.outputs)",
            )


def _never_called(subject: Subject) -> Iterator[Problem]:
    """Layers in attributes or in a Sequential's list that no call has reached, in a model that was called."""
    for path, owner in [("", subject.model), *subject.layers()]:
        if type(owner).__module__.startswith("lamina.layers"):  # what a layer keeps inside is its own affair
            continue
        graph = getattr(owner, "graph", None)
        held = {id(operation) for operation in graph.operations} if graph is not None else set()
        parts = [child for child in children(owner) if isinstance(child, Layer)]
        if graph is None and not any(child.built for child in parts):  # not called yet
            continue
        for child in parts:
            if id(child) in held or child.built or child._inbound_nodes:
                continue
            stale = isinstance(owner, Sequential)
            so = "its graph was made before" if stale else "no call so far has reached it"
            yield Problem(
                f"{path}/{child.name}".lstrip("/"),
                f"{child.title} belongs to {owner.name!r}, and {so}.",
                _NO_PART,
                "add() without rebuild=False" if stale else "call it in call(), or remove it",
            )
