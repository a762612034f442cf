"""What one call in a graph makes of any sizes: the rule of its layer, newly made for these sizes, as a program."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lamina.base import tree
from lamina.base.errors import ShapeError
from lamina.engine.device import device
from lamina.explain.exploring.tracing import (
    Expression,
    PlainRun,
    Program,
    Result,
    Run,
    Text,
    Traced,
    Unknown,
    expression_of,
    follow,
    program_of,
    value_in,
)
from lamina.explain.fields import is_pointwise
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, Operation
from lamina.layers.layer import Layer
from lamina.layers.symbolic import first_argument, user_states_shape
from lamina.layers.weights import children, weight_name
from lamina.shapes import Axes, Dim, Size, broadcast, value_of


@dataclass(frozen=True)
class AxisWay:
    """One axis of an output: its name, its size, and the formula in names and in numbers (empty where handed on)."""

    name: str
    size: Expression | None
    formula: str
    arithmetic: Text


@dataclass(frozen=True)
class WeightWay:
    """A weight that the layer would make: the size of each axis, what it means, and whether training changes it."""

    name: str
    sizes: tuple[Expression | None, ...]
    axes: tuple[str, ...] | None
    trainable: bool


@dataclass(frozen=True)
class CallResult:
    """What a call makes of its inputs' sizes. `multiply_accumulates` is None where the layer does not say."""

    outputs: tuple[tuple[AxisWay, ...], ...]
    weights: tuple[WeightWay, ...]
    multiply_accumulates: Expression | None
    multiply_accumulates_arithmetic: Text


class RuleReader:
    """Makes the programs of a model's calls; layers that differ in nothing but their name share one."""

    def __init__(self) -> None:
        self._known: dict[str, Program] = {}

    def program(self, node: Node) -> Program | None:
        """The program of a call; None for layers that state no rule and for functions that do more than broadcast."""
        layer = node.operation
        if isinstance(layer, Operation):
            return _broadcasting(node) if is_pointwise(layer) else None
        if not isinstance(layer, Layer) or not (layer._has_rule or user_states_shape(layer)):
            return None
        key = _key(layer, node)
        if key is None or key not in self._known:
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
                warnings.simplefilter("ignore")  # what a layer warns of, it warned of when the model was made
                program = _program(node)
            if key is None or program is None:
                return program
            self._known[key] = program
        return self._known[key]


def _program(node: Node) -> Program | None:
    """The program of a call. A user's rule may do what cannot be followed: its program is held against the rule."""
    call = _Call(node)
    if type(node.operation).__module__.startswith("lamina."):
        return program_of(call, node.operation.name)
    try:
        program = program_of(call, node.operation.name)
        good = all(_agrees(program, call, more) for more in (0, 1, 2, 7))
    except Exception:  # a rule raises what its writer chose
        return None
    return program if good else None


def _broadcasting(node: Node) -> Program | None:
    """The program of a function that computes number by number; None where its other arguments shape the result."""
    seeds = [_seeds(tensor) for tensor in node.input_tensors]

    def rule(run: Run) -> CallResult:
        shapes = [
            [None if size is None else run.size(size, number, axis) for axis, size in enumerate(sizes)]
            for number, sizes in enumerate(seeds)
        ]
        axes = Axes.of(broadcast(*shapes))
        return CallResult((tuple(_axis(run, name, size) for name, size in axes),), (), 0, ())

    program = program_of(rule, node.operation.name)
    for more in (0, 1):  # on one size more everywhere, an array among the arguments would no longer fit
        sizes = [[None if size is None else size + more for size in shape] for shape in seeds]
        end = follow(program, sizes)
        arguments = _with_shapes(node, [tuple(shape) for shape in sizes])
        try:
            found = node.operation.compute_output_spec(*arguments[0], **arguments[1])
        except ShapeError:
            return None
        if not isinstance(end, Result) or not isinstance(found, KerasTensor):
            return None
        if tuple(value_in(axis.size, sizes) for axis in end.value.outputs[0]) != found.shape:
            return None
    return program


def _agrees(program: Program, call: _Call, more: int) -> bool:
    """Whether a program says what the rule says when every size is larger by `more`."""
    sizes = [[None if size is None else size + more for size in shape] for shape in call.seeds]
    end = follow(program, sizes)
    try:
        expected = call(PlainRun(sizes))
    except ShapeError:
        return not isinstance(end, Result)
    if not isinstance(end, Result):
        return isinstance(end, Unknown)
    found = [[value_in(axis.size, sizes) for axis in axes] for axes in end.value.outputs]
    return found == [[axis.size for axis in axes] for axes in expected.outputs]


def _key(layer: Layer, node: Node) -> str | None:
    """Two calls of one key have one program; None where this cannot be said."""
    if not type(layer).__module__.startswith("lamina."):
        return None
    config = {name: value for name, value in layer.get_config().items() if name != "name"}
    shapes = [[tensor.shape, tensor.dtype] for tensor in node.input_tensors]
    weights = [[weight_name(weight), bool(weight.requires_grad)] for weight in layer.weights]
    try:
        return json.dumps([type(layer).__name__, config, shapes, weights])
    except TypeError:
        return None


class _Call:
    """The rule of one call, to be run on the sizes of a `Run`."""

    def __init__(self, node: Node):
        self.node, self.layer = node, node.operation
        tensors, self.named = self.layer.rule_arguments(node.args, node.kwargs)
        self.read = [tensor for tensor in tensors if _is_symbol(tensor)]
        self.renewed = bool(self.layer.weights) and _can_be_renewed(self.layer)

        self.seeds = [_seeds(tensor) for tensor in node.input_tensors]

    def __call__(self, run: Run | PlainRun) -> CallResult:
        shapes: list[tuple[int | None, ...]] = [
            tuple(None if size is None else run.size(size, number, axis) for axis, size in enumerate(seeds))
            for number, seeds in enumerate(self.seeds)
        ]
        layer = type(self.layer).from_config(self.layer.get_config()) if self.renewed else self.layer
        inputs = [_named(layer, shape, number) for number, shape in enumerate(shapes[: len(self.read)])]
        outputs = self._outputs(layer, inputs)
        work = layer.multiply_accumulates(inputs, [axes.named() for axes in outputs])
        return CallResult(
            tuple(tuple(_axis(run, name, size) for name, size in axes) for axes in outputs),
            self._weights(layer, shapes),
            expression_of(value_of(work)),
            run.text(work.arithmetic) if isinstance(work, Dim) else (),
        )

    def _outputs(self, layer: Layer, inputs: list[Axes]) -> list[Axes]:
        if layer._has_rule:
            result = layer.shape_rule(*inputs, **self.named)
            return [result] if isinstance(result, Axes) else list(result)
        plain = iter([axes.shape for axes in inputs])
        structure = tree.map_structure(
            lambda leaf: next(plain) if _is_symbol(leaf) else leaf, first_argument(self.node.args, self.node.kwargs)
        )
        found = layer.compute_output_shape(structure)
        shapes = [found] if tree.is_shape(found) else list(found.values() if isinstance(found, dict) else found)
        return [Axes.of(tuple(shape)) for shape in shapes]

    def _weights(self, layer: Layer, shapes: list[tuple[int | None, ...]]) -> tuple[WeightWay, ...]:
        """The weights with their sizes: noted while a new layer is built; else those that the layer has."""
        noted: dict[int, tuple[Any, ...]] = {}
        if self.renewed:
            make = layer.add_weight

            def add_weight(shape: Any = None, *others: Any, **named: Any) -> Any:
                shape = () if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
                weight = make([size.plain if isinstance(size, Traced) else size for size in shape], *others, **named)
                noted[id(weight)] = shape
                return weight

            layer.__dict__["add_weight"] = add_weight
            layer.__dict__["look_at_input"] = lambda shape, source: None
            with device("meta"):
                layer._ensure_built(*_with_shapes(self.node, shapes))
        return tuple(
            WeightWay(
                weight_name(weight),
                tuple(expression_of(size) for size in noted.get(id(weight), tuple(weight.shape))),
                getattr(weight, "axes", None),
                bool(weight.requires_grad),
            )
            for weight in layer.weights
        )


def _with_shapes(node: Node, shapes: Sequence[tuple[int | None, ...]]) -> Any:
    """A call's arguments with new symbols of these shapes, traced sizes and all."""
    left = iter(shapes)

    def symbol(leaf: Any) -> Any:
        if not _is_symbol(leaf):
            return leaf
        shape = next(left)
        made = KerasTensor([size.plain if isinstance(size, Traced) else size for size in shape], leaf.dtype)
        made.shape = shape
        return made

    return tree.map_structure(symbol, (node.args, node.kwargs))


def _seeds(tensor: KerasTensor) -> tuple[int | None, ...]:
    """The sizes on which a rule is first run: a trial size where the shape is open; an open batch stays open."""
    trial = tensor.trial_shapes[0]
    return tuple(
        None if axis == 0 and size is None else trial[axis] if size is None else size
        for axis, size in enumerate(tensor.shape)
    )


def _is_symbol(value: Any) -> bool:
    return isinstance(value, KerasTensor)


def _can_be_renewed(layer: Layer) -> bool:
    """Whether a copy from the layer's config, built on the same input, has the same weights."""
    if any(True for _ in children(layer)):
        return False  # weights of sub-layers are made where no one looks on
    try:
        copy = type(layer).from_config(layer.get_config())
    except Exception:  # a user's layer: whatever its constructor raises, it cannot be made anew
        return False
    return not copy.built or not copy.weights


def _named(layer: Layer, shape: tuple[int | None, ...], number: int) -> Axes:
    """A shape as `Dim`s under the layer's names for its axes; those of further inputs are numbered."""
    axes = Axes(layer.axis_names(len(shape)), shape)
    mark = "".join(chr(0x2080 + int(digit)) for digit in str(number + 1)) if number else ""
    return Axes(axes.names, tuple(Dim(name + mark, value_of(size)) for name, size in axes))


def _axis(run: Run | PlainRun, name: str, size: Size) -> AxisWay:
    computed = isinstance(size, Dim) and size.is_formula
    formula = size.formula if isinstance(size, Dim) and computed else ""
    arithmetic = run.text(size.arithmetic) if isinstance(size, Dim) and computed else ()
    return AxisWay(name, expression_of(value_of(size)), formula, arithmetic)
