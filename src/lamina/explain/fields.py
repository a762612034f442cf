"""Receptive fields: which positions of the model's input one position of a tensor depends on.

Every layer says for each axis of its inputs which positions an output position reads (`Layer.readings`). Followed from
the inputs through the graph, these compose: size, stride and offset of any tensor in the graph, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from lamina.base.errors import LaminaError
from lamina.explain.calls import Call
from lamina.explain.report import Report
from lamina.explain.table import Table
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Operation
from lamina.layers.layer import Layer
from lamina.shapes import FIRST, HERE, Reading, axis_names

SPATIAL_NAMES = ("depth", "height", "width", "steps")

# Functions that compute each number from the numbers at the same position.
_POINTWISE_MODULES = ("lamina.ops.elementwise", "lamina.ops.arithmetic")
_POINTWISE = set(
    "celu elu gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid relu relu6 selu sigmoid silu "
    "soft_shrink softplus softsign sparse_plus sparse_sigmoid squareplus tanh_shrink threshold cast".split()
)

Source = tuple[int, int]  # an axis of the model's inputs: the input's number, the axis's number


@dataclass(frozen=True)
class _Carried:
    """The source's positions lie along an axis of the tensor."""

    axis: int
    reading: Reading
    whole: bool = False  # whether another path brings the whole axis to each of them, as a gate does


@dataclass(frozen=True)
class _Unknown:
    """A layer on the way does not say what it reads."""

    layer: str


_WHOLE = "whole"  # every position depends on the whole axis
State = dict[Source, Any]  # _Carried, _Unknown or _WHOLE; a source that is not there has no influence


@dataclass(frozen=True)
class FieldAxis:
    """The receptive field along one axis of an input, in positions of this input.

    `size`: positions from the first to the last that one output position depends on; None for the whole axis (as behind
    a gate made of the mean, where the stride goes on), or where it is not known (`unknown` names the layer). `stride`:
    positions of the input from one output position to the next; None where the output has no such axis.
    `offset`: the first position that output position 0 depends on, negative in the padding; None where it is open.
    """

    name: str
    size: int | None
    stride: Fraction | None = None
    offset: int | None = None
    input: str = ""
    unknown: str = ""
    reading: Reading | None = None
    position: int | None = None  # which axis of the layer's output the field goes along

    def interval(self, position: int) -> tuple[int, int]:
        """The input positions from the first to the last on which an output position depends (also in the padding).

        Errors: a LaminaError where the field is the whole axis, or its place is not known.
        """
        if self.reading is None or not self.reading.anchored:
            raise LaminaError(f"The receptive field along {self.name} has no interval: it is {self}.")
        return self.reading.interval(position)

    def __str__(self) -> str:
        if self.unknown:
            return f"not known behind {self.unknown!r}"
        if self.size is None:
            return f"the whole {self.name}" + ("" if self.stride is None else f", stride {self.stride}")
        offset = "open" if self.offset is None else str(self.offset).replace("-", "−")
        return f"size {self.size}, stride {self.stride}, offset {offset}"

    @property
    def short(self) -> str:
        """The size alone: a number, "all" or "?"."""
        return "?" if self.unknown else "all" if self.size is None else str(self.size)


@dataclass(frozen=True)
class ReceptiveField(Report):
    """The positions of the model's inputs on which one position of a layer's output depends."""

    layer: str
    axes: tuple[FieldAxis, ...]

    @property
    def short(self) -> str:
        """`7×7`; "all" where every position depends on the whole input; "" without spatial axes."""
        sizes = [axis.short for axis in self.axes]
        return sizes[0] if len(set(sizes)) == 1 and sizes[0] in ("all", "?") else "×".join(sizes)

    @property
    def sentence(self) -> str:
        """`7×7 of the input, at stride 2×2`."""
        if any(axis.unknown for axis in self.axes):
            return "; ".join(f"{axis.name} {axis}" for axis in self.axes)
        if self.short == "all":
            return "all of the input"
        return f"{self.short} of the input" + (f", at stride {self.stride_text}" if self.stride_text else "")

    @property
    def stride_text(self) -> str:
        """`2×2`, or "" where no axis is left."""
        strides = [axis.stride for axis in self.axes]
        return "" if None in strides or not strides else "×".join(map(str, strides))

    def parts(self) -> Iterator[str | Table]:
        yield f"One position of {self.layer!r} depends on"
        if not self.axes:
            yield "  all of the input: it has no height, width, depth or steps."
        several = len({axis.input for axis in self.axes}) > 1
        for axis in self.axes:
            label = f"{axis.input} {axis.name}" if several else axis.name
            yield f"  {label:<10} {axis}"

    def to_dict(self) -> dict[str, Any]:
        axes = [
            {
                "name": axis.name,
                "input": axis.input,
                "size": axis.size,
                "stride": None if axis.stride is None else float(axis.stride),
                "offset": axis.offset,
                "unknown": axis.unknown or None,
            }
            for axis in self.axes
        ]
        return {"layer": self.layer, "axes": axes}


def receptive_field(model: Any, layer: Any = None) -> ReceptiveField:
    """The receptive field of a layer's output (of the model's last by default) on the model's inputs.

    A position depends at most on the positions from the first to the last; a dilated window leaves some between them
    out. Positions outside the input are padding. Errors: a LaminaError for a model without a graph.

    >>> import lamina
    >>> x = lamina.Input((32, 32, 3))
    >>> y = lamina.layers.Conv2D(8, 3, strides=2, padding="same", name="conv")(x)
    >>> print(lamina.Model(x, lamina.layers.MaxPooling2D(2, name="pool")(y)).receptive_field())
    One position of 'pool' depends on
      height     size 5, stride 4, offset 0
      width      size 5, stride 4, offset 0
    """
    graph = getattr(model, "graph", None)
    if graph is None:
        raise LaminaError(f"{model.title} is no graph with known sizes: give a Sequential an Input, or build it.")
    if layer is None:
        operation = graph.outputs[0]._keras_history.operation
    else:
        operation = model.get_layer(layer) if isinstance(layer, str) else layer
    node = next((node for node in graph.topology.nodes if node.operation is operation), None)
    if node is None:
        raise LaminaError(f"{operation.name!r} is no layer of the model {model.name!r}'s graph.")
    return fields_of(graph)[id(node.output_tensors[0])]


def fields_of(graph: Graph, inside: bool = False) -> dict[int, ReceptiveField]:
    """The receptive field of every tensor of a graph, by its id; also of those `inside` nested models, in their first
    call, if asked for."""
    sources = spatial_axes(graph)
    starts: list[State] = [{} for _ in graph.inputs]
    for number, axis in sources:
        starts[number][number, axis] = _Carried(axis, HERE)
    states = _flow(graph, starts)
    named = {id(tensor): node.operation.name for node in graph.topology.nodes for tensor in node.output_tensors}
    if inside:
        _enter_nested(graph, states, named)
    return {tensor: _field(named.get(tensor, "input"), state, sources) for tensor, state in states.items()}


def _enter_nested(graph: Graph, states: dict[int, State], named: dict[int, str]) -> None:
    """Adds the states and names of the tensors inside a graph's nested models."""
    for node in graph.topology.nodes:
        inner = Call.of(node).graph
        if inner is None:
            continue
        for tensor, state in _flow(inner, [states[id(tensor)] for tensor in node.input_tensors]).items():
            states.setdefault(tensor, state)
        for one in inner.topology.nodes:
            for made in one.output_tensors:
                named.setdefault(id(made), one.operation.name)
        _enter_nested(inner, states, named)


def field_of_call(call: Call) -> ReceptiveField:
    """The receptive field of a call's first output on the call's own inputs."""
    sources: dict[Source, tuple[str, str]] = {}
    starts: list[State] = [{} for _ in call.received]
    for number, axes in enumerate(call.inputs):
        for axis, name in enumerate(axes.names):
            if axis and _is_spatial(name):
                sources[number, axis] = (f"input {number + 1}", name)
                starts[number][number, axis] = _Carried(axis, HERE)
    return _field(call.operation.name, _through(call, starts)[0], sources)


def _field(layer: str, state: State, sources: dict[Source, tuple[str, str]]) -> ReceptiveField:
    axes = [
        _field_axis(name, input_name, state[source])
        for source, (input_name, name) in sources.items()
        if source in state
    ]
    return ReceptiveField(layer, tuple(axes))


def _field_axis(name: str, input_name: str, place: Any) -> FieldAxis:
    if isinstance(place, _Unknown):
        return FieldAxis(name, None, input=input_name, unknown=place.layer)
    if isinstance(place, _Carried):
        reading = place.reading
        if place.whole:
            return FieldAxis(name, None, reading.stride, None, input_name, position=place.axis)
        offset = reading.offset if reading.anchored else None
        return FieldAxis(name, reading.size, reading.stride, offset, input_name, reading=reading, position=place.axis)
    return FieldAxis(name, None, input=input_name)


def spatial_axes(graph: Graph) -> dict[Source, tuple[str, str]]:
    """The spatial axes of a graph's inputs, each with the names of input and axis, as the first layer gives them."""
    found: dict[Source, tuple[str, str]] = {}
    for number, tensor in enumerate(graph.inputs):
        for axis, name in enumerate(input_axes(graph, tensor)):
            if axis and _is_spatial(name):
                history = tensor._keras_history
                found[number, axis] = (history.operation.name if history else tensor.name, name)
    return found


def _is_spatial(name: str) -> bool:
    return name in SPATIAL_NAMES or name.startswith("axis ")


def input_axes(graph: Graph, tensor: KerasTensor) -> tuple[str, ...]:
    """What the first layer that knows a data format calls the axes of an input."""
    waiting, seen = [tensor], {id(tensor)}
    for node in graph.topology.nodes:
        if not any(id(one) in seen for one in node.input_tensors):
            continue
        operation = node.operation
        if getattr(operation, "graph", None) is not None:
            place = next(place for place, one in enumerate(node.input_tensors) if id(one) in seen)
            return input_axes(operation.graph, operation.graph.inputs[place])
        if getattr(operation, "data_format", None) is not None:
            return operation.axis_names(tensor.ndim)
        if node.output_tensors and node.output_tensors[0].ndim == tensor.ndim:
            waiting.extend(node.output_tensors)
            seen.update(id(one) for one in node.output_tensors)
    first = next((node.operation for node in graph.topology.nodes if tensor in node.input_tensors), None)
    return first.axis_names(tensor.ndim) if isinstance(first, Layer) else axis_names(tensor.ndim)


def _flow(graph: Graph, starts: list[State]) -> dict[int, State]:
    """The state of every tensor, by its id, from the states of the graph's inputs."""
    states: dict[int, State] = {id(tensor): start for tensor, start in zip(graph.inputs, starts, strict=True)}
    for node in graph.topology.nodes:
        if all(id(tensor) in states for tensor in node.output_tensors):
            continue
        received = [states[id(tensor)] for tensor in node.input_tensors]
        for tensor, state in zip(node.output_tensors, _through(Call.of(node), received), strict=True):
            states[id(tensor)] = state
    return states


def _through(call: Call, received: list[State]) -> list[State]:
    """The states of a call's outputs."""
    if call.graph is not None:
        states = _flow(call.graph, received)
        return [states[id(tensor)] for tensor in call.graph.outputs]
    moves = _moves(call)
    if moves is None:
        joined = _joined(_lost(state, call.operation.name) for state in received)
        return [joined for _ in call.produced]
    joined = _joined(_moved(*pair, call.operation.name) for pair in zip(received[: len(moves)], moves, strict=True))
    return [joined for _ in call.produced]


Moves = dict[int, tuple[int, Reading | None]]  # input axis → output axis and what is read


def _moves(call: Call) -> list[Moves] | None:
    """For each input of a call: where its axes go, and what an output position reads of them. None: not said."""
    operation = call.operation
    if isinstance(operation, Operation):
        return _pointwise_moves(call) if is_pointwise(operation) else None
    readings = operation.readings(*call.inputs) if call.has_rule else None
    if readings is None:
        return None
    result = call.outputs[0].names
    longest = max(axes.rank for axes in call.inputs)
    moves: list[Moves] = []
    for axes, named in zip(call.inputs, readings, strict=True):
        added = longest - axes.rank  # axes of 1 behind the batch, where inputs are merged
        names = [result[number + added] if added and number else name for number, name in enumerate(axes.names)]
        moves.append(
            {
                number: (result.index(name), named[name])
                for number, name in enumerate(names)
                if name in named and name in result
            }
        )
    return moves


def is_pointwise(operation: Operation) -> bool:
    function = operation.function
    return function.__name__ in _POINTWISE or function.__module__ in _POINTWISE_MODULES


def _pointwise_moves(call: Call) -> list[Moves]:
    shape = call.produced[0].shape
    moves: list[Moves] = []
    for tensor in call.received:
        added = len(shape) - tensor.ndim
        moves.append(
            {
                axis: (axis + added, FIRST if size == 1 != shape[axis + added] else HERE)
                for axis, size in enumerate(tensor.shape)
            }
        )
    return moves


def _moved(state: State, moves: Moves, layer: str) -> State:
    moved: State = {}
    for source, place in state.items():
        if not isinstance(place, _Carried):
            moved[source] = place
        elif place.axis not in moves:
            moved[source] = _WHOLE
        else:
            axis, reading = moves[place.axis]
            after = None if reading is None else replace(place, axis=axis, reading=reading.after(place.reading))
            moved[source] = _Unknown(layer) if after is None else after
    return moved


def _lost(state: State, layer: str) -> State:
    return {source: _Unknown(layer) if isinstance(place, _Carried) else place for source, place in state.items()}


def _joined(states: Iterable[State]) -> State:
    """What several paths together depend on."""
    joined: State = {}
    for state in states:
        for source, place in state.items():
            joined[source] = _either(joined[source], place) if source in joined else place
    return joined


def _either(one: Any, other: Any) -> Any:
    if one == other:
        return one
    if _WHOLE in (one, other):
        carried = other if one == _WHOLE else one
        return replace(carried, whole=True) if isinstance(carried, _Carried) else _WHOLE
    if isinstance(one, _Unknown):
        return one
    if isinstance(other, _Unknown):
        return other
    if one.axis == other.axis:
        reading = one.reading.joined(other.reading)
        if reading is not None:
            return _Carried(one.axis, reading, one.whole or other.whole)
    return _Unknown("branches of different strides")
