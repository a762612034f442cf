"""`model.summary()`: the table of layers, output shapes and parameters, as Keras prints it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from lamina.explain.table import Column, Row, Table, format_bytes, format_count, format_shape
from lamina.graph.node import Node
from lamina.layers.input_layer import InputLayer
from lamina.layers.layer import Layer
from lamina.layers.signature import shape_of
from lamina.layers.symbolic import known_output_shape
from lamina.models.sequential import Sequential


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Any = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
) -> None:
    """Prints the summary of a model.

    Parameters: `line_length`, the width of the table, the terminal's by default; `print_fn`, called with the whole text
    in place of print; `expand_nested`, also the layers of nested models; `show_trainable`, a column that says whether a
    layer is trained; `layer_range`, the names (or patterns) of the first and the last layer to show. `positions` is
    taken for compatibility: columns fit their content.
    """
    summary_table(model, expand_nested, show_trainable, layer_range).show(line_length, print_fn)


def summary_table(
    model: Any, expand_nested: bool = False, show_trainable: bool = False, layer_range: Any = None
) -> Table:
    """The summary as a table object, which prints and shows in a notebook."""
    branched = _is_branched(model)
    columns = [Column("Layer (type)"), Column("Output Shape", keep=True), Column("Param #", "right", keep=True)]
    if branched:
        columns.append(Column("Connected to"))
    if show_trainable:
        columns.append(Column("Trainable", "center", keep=True))
    rows = list(_rows(model, _layers_in_range(model, layer_range), branched, show_trainable, expand_nested, 0))
    return Table(columns, rows, title=f'Model: "{model.name}"', footer=_footer(model))


def _is_branched(model: Any) -> bool:
    graph = getattr(model, "graph", None)
    if graph is None or isinstance(model, Sequential):
        return False
    calls: dict[int, int] = {}
    for node in graph.topology.nodes:
        calls[id(node.operation)] = calls.get(id(node.operation), 0) + 1
        if len(node.input_tensors) > 1:
            return True
    readers: dict[int, int] = {}
    for node in graph.topology.nodes:
        for tensor in node.input_tensors:
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
    return any(count > 1 for count in (*calls.values(), *readers.values())) or len(graph.inputs) > 1


def _layers_in_range(model: Any, layer_range: Any) -> list[Any]:
    layers = list(model.layers)
    if layer_range is None:
        return layers
    if len(layer_range) != 2:
        raise ValueError(f"layer_range is the names of two layers; got {layer_range!r}.")
    names = [layer.name for layer in layers]
    bounds = []
    for pattern in layer_range:
        found = [index for index, name in enumerate(names) if name == pattern or re.match(pattern, name)]
        if not found:
            raise ValueError(f"layer_range names {pattern!r}, and the model {model.name!r} has no such layer.")
        bounds.append(found)
    first, last = min(map(min, bounds)), max(map(max, bounds))
    return layers[first : last + 1]


def _rows(
    model: Any, layers: list[Any], branched: bool, show_trainable: bool, expand_nested: bool, depth: int
) -> Iterator[Row]:
    for layer in layers:
        cells = [
            f"{getattr(layer, 'name', '')} ({type(layer).__name__})",
            _output_text(layer, model),
            _parameters(layer),
        ]
        if branched:
            cells.append(_connections(layer, model))
        if show_trainable:
            cells.append(("Y" if getattr(layer, "trainable", True) else "N") if _count(layer) else "-")
        yield Row(tuple(cells), indent=depth)
        if expand_nested and hasattr(layer, "layers"):
            yield from _rows(layer, layer.layers, branched, show_trainable, expand_nested, depth + 1)


def _nodes_in(layer: Any, model: Any) -> list[Node]:
    graph = getattr(model, "graph", None)
    if graph is None or not isinstance(layer, Layer):
        return []
    inside = {id(node) for node in graph.topology.nodes}
    return [node for node in layer._inbound_nodes if id(node) in inside]


def _output_text(layer: Any, model: Any) -> str:
    nodes = _nodes_in(layer, model)
    if nodes:
        return format_shape(shape_of(nodes[0].outputs))
    seen = known_output_shape(layer) if isinstance(layer, Layer) else None
    return "not called yet" if seen is None else format_shape(seen)


def _connections(layer: Any, model: Any) -> str:
    if isinstance(model, Sequential):
        return "-"  # each layer reads the one above it
    parts = []
    for node in _nodes_in(layer, model):
        for tensor in node.input_tensors:
            operation, index, place = tensor._keras_history  # type: ignore[misc]
            parts.append(f"{operation.name}[{index}][{place}]")
    return ", ".join(parts) or "-"


def _count(layer: Any) -> int:
    weights = layer.weights if isinstance(layer, Layer) else list(layer.parameters())
    return sum(math.prod(weight.shape) for weight in weights)


def _parameters(layer: Any) -> str:
    if getattr(layer, "built", True) or isinstance(layer, InputLayer):
        return format_count(_count(layer))
    return "0 (unbuilt)"


def _footer(model: Any) -> list[str]:
    trainable = {id(weight) for weight in model.trainable_weights}
    parts: dict[str, list[Any]] = {"Trainable": [], "Non-trainable": []}
    for weight in model.weights:
        parts["Trainable" if id(weight) in trainable else "Non-trainable"].append(weight)
    lines = [_line(name, tensors) for name, tensors in parts.items()]
    optimizer = model.optimizer
    extra = list(optimizer.variables) if optimizer is not None and optimizer.built else []
    if extra:
        lines.append(_line("Optimizer", extra))
    return [_line("Total", [*parts["Trainable"], *parts["Non-trainable"], *extra]), *lines]


def _line(name: str, tensors: list[Any]) -> str:
    count = sum(math.prod(tensor.shape) for tensor in tensors)
    size = sum(math.prod(tensor.shape) * tensor.element_size() for tensor in tensors)
    return f" {name} params: {format_count(count)} ({format_bytes(size)})"
