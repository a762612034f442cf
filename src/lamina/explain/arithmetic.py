"""Why each size and each parameter count is what it is: the shape rules read with sizes that write their formulas."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from lamina.base.errors import LaminaError
from lamina.explain.calls import Call
from lamina.explain.fields import ReceptiveField, field_of_call, fields_of, input_axes, spatial_axes
from lamina.explain.quantities import output_bytes, products_of, stated_products
from lamina.explain.report import Report
from lamina.explain.table import Table, format_bytes
from lamina.graph.node import Node
from lamina.layers.input_layer import InputLayer
from lamina.layers.layer import Layer
from lamina.layers.weights import weight_name
from lamina.layers.windowed import SpatialLayer
from lamina.shapes import Axes, Dim

SPATIAL_NAMES = ("height", "width", "depth", "steps")
_CHANNEL_NAMES = ("channels", "features")
_LABEL = 14
_SHOWN = 3  # layers of a longer list in a sentence
_NO_RULE = "no rule is stated; found by running the code on tensors without values"
_UNBROKEN = "\u00a0"  # a blank at which no line is broken


@dataclass(frozen=True)
class AxisArithmetic:
    """One axis of an output: its name, its size, and how the size came about ("" where it is handed on).

    Where a window slides along the axis and leaves its size as it is, the formula is the axis's own name.
    """

    name: str
    size: int | None
    formula: str = ""
    arithmetic: str = ""

    def __str__(self) -> str:
        if self.size is None:
            return self.formula or "open"
        size = f"{self.size:,}"
        if self.formula == self.name:
            return f"{size}, as it came"
        if not self.arithmetic:
            return size
        return f"{self.arithmetic} = {size}"


@dataclass(frozen=True)
class WeightFormula:
    """The number of elements of one weight: `7·7·3·64`, and what each factor is."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...] | None
    trainable: bool

    @property
    def numbers(self) -> str:
        return "·".join(map(str, self.shape)) or "1"

    @property
    def words(self) -> str:
        return "·".join(self.axes) if self.axes is not None else self.numbers

    @property
    def count(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class LayerExplanation(Report):
    """One call of one layer: shapes in and out, the arithmetic of each output axis, the parameter formula, the cost.

    `multiply_accumulates` counts the products that are added up, of convolutions and matrix products, for one example;
    `activation_bytes` is the memory of the outputs for one example. Both are None where a size is open.
    `receptive_field` is what one position sees of the model's input (of the layer's own, for a layer by itself).
    """

    name: str
    class_name: str
    received: tuple[tuple[int | None, ...], ...]
    received_axes: tuple[tuple[str, ...], ...]
    outputs: tuple[tuple[int | None, ...], ...]
    axes: tuple[AxisArithmetic, ...]
    weights: tuple[WeightFormula, ...]
    note: str = ""
    inner: ModelExplanation | None = None
    multiply_accumulates: int | None = None
    multiply_accumulates_formula: str = ""
    activation_bytes: int | None = None
    receptive_field: ReceptiveField | None = None
    data_format: str = ""

    @property
    def parameters(self) -> int:
        return sum(weight.count for weight in self.weights)

    @property
    def parameter_formula(self) -> str:
        """`7·7·3·64 + 64 = 9,472`."""
        return _sum_formula(self.weights)

    @property
    def parameter_words(self) -> str:
        """`kernel height·kernel width·input channels·filters + filters`."""
        groups = [list(group) for _, group in groupby(self.weights, lambda weight: weight.words)]
        return " + ".join(_several(group[0].words, group) for group in groups)

    @property
    def parameter_axes(self) -> tuple[str, ...]:
        """The axes of the inputs whose sizes the parameter count follows."""
        named = {_received_name(name) for weight in self.weights for name in weight.axes or ()}
        return tuple(dict.fromkeys(name for names in self.received_axes for name in names if name in named))

    def parts(self) -> Iterator[str | Table]:
        shapes = f"{_shapes(self.received)} → {_shapes(self.outputs)}" if self.received else _shapes(self.outputs)
        yield from _wrapped(f"{self.name} ({self.class_name})  ", shapes, indent="    ")
        if self.data_format and self.received:
            yield from _wrapped(f"  {'reads':<{_LABEL}}", self._reading(), indent=" " * (_LABEL + 2))
        for axis in self.axes:
            if axis.formula or not self.received:
                yield from _wrapped(f"  {axis.name:<{_LABEL}}", str(axis), indent=" " * (_LABEL + 2))
        if self.note:
            yield from _wrapped(f"  {'shape':<{_LABEL}}", self.note, indent=" " * (_LABEL + 2))
        if self.weights and self.inner is None:
            yield from _wrapped(f"  {'parameters':<{_LABEL}}", self.parameter_formula, indent=" " * (_LABEL + 2))
            yield from _wrapped(" " * (_LABEL + 2), self.parameter_words, indent=" " * (_LABEL + 2))
        elif self.inner is not None:
            yield f"  {'parameters':<{_LABEL}}{self.parameters:,} in {len(self.inner.layers)} layers"
        for label, text in self._costs():
            yield from _wrapped(f"  {label:<{_LABEL}}", text, indent=" " * (_LABEL + 2))

    def _reading(self) -> str:
        """`height 28, width 28, channels 1 (channels_last)`: how the layer understands its input."""
        pairs = [f"{name} {size}" for name, size in zip(self.received_axes[0], self.received[0], strict=True)]
        return f"{', '.join(pairs[1:])} ({self.data_format})"

    def _costs(self) -> Iterator[tuple[str, str]]:
        if self.multiply_accumulates_formula:
            yield "multiply-adds", self.multiply_accumulates_formula
        if self.activation_bytes is not None:
            yield "memory", f"{format_bytes(self.activation_bytes)} for each example"
        if self.receptive_field is not None and self.receptive_field.axes and self.received:
            yield "sees", self.receptive_field.sentence

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "class_name": self.class_name,
            "received": [list(shape) for shape in self.received],
            "received_axes": [list(names) for names in self.received_axes],
            "outputs": [list(shape) for shape in self.outputs],
            "axes": [vars(axis) | {"text": str(axis)} for axis in self.axes],
            "parameters": self.parameters,
            "parameter_formula": self.parameter_formula,
            "parameter_words": self.parameter_words,
            "parameter_axes": list(self.parameter_axes),
            "data_format": self.data_format or None,
            "multiply_accumulates": self.multiply_accumulates,
            "multiply_accumulates_formula": self.multiply_accumulates_formula,
            "activation_bytes": self.activation_bytes,
            "receptive_field": None if self.receptive_field is None else self.receptive_field.to_dict(),
        }


@dataclass(frozen=True)
class ModelExplanation(Report):
    """The explanation of every layer of a model, in its order, and what the parameter count depends on."""

    name: str
    layers: tuple[LayerExplanation, ...]
    parameters: int
    size_dependent: tuple[str, ...] = field(default=())
    complete: bool = True
    sized: bool = True  # whether an input has a height, a width or a length
    channel_dependent: tuple[tuple[str, str, str], ...] = ()  # layer, axis of the input, formula

    @property
    def conclusion(self) -> str:
        """Whether the parameter count follows the size of the input."""
        if not self.sized:
            return f"{self.parameters:,} parameters."
        if self.size_dependent:
            layers = ", ".join(map(repr, self.size_dependent))
            return (
                f"The parameter count, {self.parameters:,}, follows the input's size: {layers} "
                f"{'has' if len(self.size_dependent) == 1 else 'have'} a weight for every position of it."
            )
        if not self.complete:
            return f"{self.parameters:,} parameters."
        return (
            f"No height, width or length of the input occurs in any parameter formula: the count, "
            f"{self.parameters:,}, is the same for every input size."
        )

    @property
    def follows(self) -> str:
        """Which layers have more parameters if the input has more channels or features; "" if none has."""
        if not self.channel_dependent:
            return ""
        axes = " and ".join(dict.fromkeys(axis for _, axis, _ in self.channel_dependent))
        layers = ", ".join(f"{layer!r} ({formula})" for layer, _, formula in self.channel_dependent[:_SHOWN])
        more = len(self.channel_dependent) - _SHOWN
        return f"It follows the input's {axes}, in {layers}{f' and {more} more' if more > 0 else ''}."

    def __getitem__(self, name: str) -> LayerExplanation:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}")

    @property
    def multiply_accumulates(self) -> int | None:
        """Of all layers, for one example; None where one is not known."""
        return _sum(layer.multiply_accumulates for layer in self.layers)

    @property
    def activation_bytes(self) -> int | None:
        """Of the outputs of all layers but the inputs, for one example; None where one is not known."""
        return _sum(layer.activation_bytes for layer in self.layers if layer.received)

    def parts(self) -> Iterator[str | Table]:
        for layer in self.layers:
            yield from layer.parts()
        yield ""
        yield " ".join(filter(None, (self.conclusion, self.follows)))
        if self.multiply_accumulates is not None and self.activation_bytes is not None:
            yield (
                f"One example takes {self.multiply_accumulates:,} multiply-accumulates, and "
                f"{format_bytes(self.activation_bytes)} for the outputs of all layers."
            )

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "parameters": self.parameters,
            "size_dependent": list(self.size_dependent),
            "channel_dependent": [
                {"layer": layer, "axis": axis, "formula": formula} for layer, axis, formula in self.channel_dependent
            ],
            "multiply_accumulates": self.multiply_accumulates,
            "activation_bytes": self.activation_bytes,
            "layers": [layer.to_dict() for layer in self.layers],
        }


def _shapes(shapes: tuple[tuple[int | None, ...], ...]) -> str:
    return ", ".join(str(shape).replace(" ", _UNBROKEN) for shape in shapes)


def _wrapped(first: str, text: str, indent: str) -> list[str]:
    joined = textwrap.wrap(
        text, 80, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_UNBROKEN, " ") for line in joined or [first]]


def explain_model(model: Any, layer: Any = None) -> Any:
    """The `ModelExplanation` of a graph, or the `LayerExplanation` of one layer: by name, itself, or in a nested model
    as "model/layer" (what it sees is then said of the nested model's input).

    Errors: a LaminaError when the model is no graph yet: its sizes are not known before it is built on an input.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((28, 28, 1)), lamina.layers.Conv2D(16, 3, name="conv")])
    >>> print(model.explain("conv"))
    conv (Conv2D)  (None, 28, 28, 1) → (None, 26, 26, 16)
      reads         height 28, width 28, channels 1 (channels_last)
      height        28 − 3 + 1 = 26
      width         28 − 3 + 1 = 26
      channels      16
      parameters    3·3·1·16 + 16 = 160
                    kernel height·kernel width·input channels·filters + filters
      multiply-adds 26·26·3·3·1·16 = 97,344
      memory        42.25 KB for each example
      sees          3×3 of the input, at stride 1×1
    """
    graph = getattr(model, "graph", None)
    if graph is None:
        raise LaminaError(
            f"{model.title} is no graph with known sizes. Give a Sequential an Input, or call explain() on the layers: "
            f"lamina.explain.explain_layer(layer, input_shape)."
        )
    if layer is not None:
        outer, _, rest = layer.partition("/") if isinstance(layer, str) else (layer, "", "")
        wanted = model.get_layer(outer) if isinstance(outer, str) else outer
        if rest:
            return explain_model(wanted, rest)
        node = next(node for node in graph.topology.nodes if node.operation is wanted)
        return _explain_node(node, graph, fields_of(graph))
    fields = fields_of(graph)
    explanations = tuple(_explain_node(node, graph, fields) for node in _in_order(graph))
    dependent = _dependent(graph)
    known = dependent or _Dependence()
    return ModelExplanation(
        model.name,
        explanations,
        model.count_params(),
        tuple(known.sized),
        complete=dependent is not None,
        sized=bool(spatial_axes(graph)),
        channel_dependent=tuple(known.channelled),
    )


def explain_layer(layer: Any, input_shape: Any) -> LayerExplanation:
    """One layer on an input shape (batch axis first; a list of shapes for a merging layer).

    >>> import lamina
    >>> lamina.explain.explain_layer(lamina.layers.Dense(10, name="head"), (None, 128)).parameter_formula
    '128·10 + 10 = 1,290'
    """
    call = Call.on(layer, input_shape)
    return _explain(call, field_of_call(call))


def _in_order(graph: Any) -> list[Node]:
    """The graph's nodes in the order of its layers."""
    rank = {id(operation): index for index, operation in enumerate(graph.operations)}
    return sorted(graph.topology.nodes, key=lambda node: rank[id(node.operation)])


def _explain_node(node: Node, graph: Any, fields: dict[int, ReceptiveField]) -> LayerExplanation:
    made = node.output_tensors[0]
    explained = _explain(Call.of(node), fields.get(id(made)))
    if isinstance(node.operation, InputLayer):  # its axes are what the first layer takes them for
        names = input_axes(graph, made)
        return replace(explained, axes=tuple(map(AxisArithmetic, names[1:], made.shape[1:])))
    return explained


def _explain(call: Call, field: ReceptiveField | None) -> LayerExplanation:
    operation = call.operation
    axes, note = _axes_of(call)
    products, formula = _products(call)
    inner = None if call.graph is None else explain_model(operation)
    return LayerExplanation(
        operation.name,
        type(operation).__name__,
        tuple(tensor.shape for tensor in call.received),
        tuple(axes.names for axes in call.inputs),
        tuple(tensor.shape for tensor in call.produced),
        axes,
        tuple(weights_of(operation)) if isinstance(operation, Layer) else (),
        note,
        inner,
        products,
        formula,
        output_bytes(call) if inner is None else inner.activation_bytes,
        field,
        getattr(operation, "data_format", None) or "" if isinstance(operation, SpatialLayer) else "",
    )


def _products(call: Call) -> tuple[int | None, str]:
    """The multiply-accumulates and their formula, "" where there are none."""
    count = products_of(call)
    stated = stated_products(call)
    if isinstance(stated, Dim):
        return count, stated.formula if count is None else f"{stated.arithmetic} = {count:,}"
    if count is None:
        return None, "not known: a size is open"
    return count, f"{count:,}" if count else ""


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(known)  # type: ignore[arg-type]


def weights_of(layer: Any) -> Iterator[WeightFormula]:
    for weight in layer.weights:
        axes = getattr(weight, "axes", None)
        yield WeightFormula(weight_name(weight), tuple(weight.shape), axes, bool(weight.requires_grad))


def _axes_of(call: Call) -> tuple[Any, str]:
    """The arithmetic of the output's axes, or a note where no rule states it."""
    if isinstance(call.operation, InputLayer):
        shape = call.produced[0].shape
        named = zip(call.outputs[0].names, shape, strict=True)
        return tuple(AxisArithmetic(name, size) for name, size in named if name != "batch"), ""
    if not call.has_rule:
        return (), "" if call.graph is not None else _NO_RULE
    inputs = [axes.named() for axes in call.inputs]
    if len(inputs) > 1:
        inputs = [_numbered(axes, index) for index, axes in enumerate(inputs)]
    result, *others = call.apply_rule(inputs)
    if others:
        return (), "several outputs"
    handed_on = {(name, index) for axes in inputs[:1] for index, name in enumerate(axes.names)}
    slides = hasattr(call.operation, "windows")
    arithmetic = tuple(
        _axis(name, index, size, handed_on, slides and name in SPATIAL_NAMES)
        for index, (name, size) in enumerate(result)
    )
    return arithmetic, _gone(inputs[0], result)


def _gone(read: Axes, made: Axes) -> str:
    """What to say of spatial axes that are no longer there and in no formula: taken together by a global pooling."""
    gone = [name for name in read.names if name in SPATIAL_NAMES and name not in made.names]
    formulas = [size.formula for _, size in made if isinstance(size, Dim)]
    if not gone or any(name in formula for name in gone for formula in formulas):
        return ""
    kept = ", ".join(f"{size} {name}" for name, size in zip(made.names, made.shape, strict=True) if name != "batch")
    return f"all of {' and '.join(gone)} together: {kept}, whatever the size"


def _numbered(axes: Axes, index: int) -> Axes:
    """The axes of the second, third, ... input under names of their own in the formulas."""
    if index == 0:
        return axes
    marks = "".join(chr(0x2080 + int(digit)) for digit in str(index + 1))
    sizes = (Dim(f"{name}{marks}", size.value if isinstance(size, Dim) else size) for name, size in axes)
    return Axes(axes.names, tuple(sizes))


def _axis(name: str, index: int, size: Any, handed_on: set[tuple[str, int]], slid: bool) -> AxisArithmetic:
    if isinstance(size, Dim):
        if size.is_formula:
            return AxisArithmetic(name, size.value, size.formula, size.arithmetic)
        return AxisArithmetic(name, size.value, name if slid else "")
    if size is None or (name == "batch" and (name, index) in handed_on):
        return AxisArithmetic(name, size)
    return AxisArithmetic(name, size, str(size), "")


@dataclass
class _Dependence:
    """What of a graph grows with the model's input: layers with its sizes; layers, axes and formulas with its channels.

    `outputs`: the sizes of the graph's outputs, those that follow the input as `Dim`s.
    """

    sized: list[str] = field(default_factory=list)
    channelled: list[tuple[str, str, str]] = field(default_factory=list)
    outputs: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, layer: Any, inputs: list[Axes]) -> None:
        if any(_reads(layer, axes, SPATIAL_NAMES) for axes in inputs):
            self.sized.append(layer.name)
            return
        read = dict.fromkeys(name for axes in inputs for name in _CHANNEL_NAMES if _reads(layer, axes, (name,)))
        self.channelled += [(layer.name, name, _sum_formula(list(weights_of(layer)))) for name in read]

    def add_nested(self, name: str, inner: _Dependence) -> None:
        self.sized += [f"{name}/{layer}" for layer in inner.sized]
        self.channelled += [(f"{name}/{layer}", axis, formula) for layer, axis, formula in inner.channelled]


def _dependent(graph: Any, starts: Sequence[tuple[Any, ...]] | None = None) -> _Dependence | None:
    """What of a graph grows with the model's input; None where a rule is missing on the way.

    Sizes of the model's inputs flow through the rules as named `Dim`s; a weight that reads an axis in whose formula the
    name of an input's axis occurs depends on that axis. `starts`: what flows into a nested model.
    """
    if starts is None:
        starts = [Axes(input_axes(graph, tensor), tensor.shape).named().sizes for tensor in graph.inputs]
    flowing = {id(tensor): tuple(sizes) for tensor, sizes in zip(graph.inputs, starts, strict=True)}
    found = _Dependence()
    for node in graph.topology.nodes:
        layer = node.operation
        if all(id(tensor) in flowing for tensor in node.output_tensors):
            continue
        received = [flowing[id(tensor)] for tensor in node.input_tensors]
        inputs = [Axes(layer.axis_names(len(one)), one) for one in received] if isinstance(layer, Layer) else []
        nested = getattr(layer, "graph", None)
        if nested is not None:
            inner = _dependent(nested, received)
            if inner is None:
                return None
            found.add_nested(layer.name, inner)
            sizes = inner.outputs
        elif getattr(layer, "_has_rule", False):
            call = Call.of(node)
            inputs = inputs[: len(call.inputs)]  # a mask that is given as an argument comes after what the rule reads
            sizes = [axes.sizes for axes in call.apply_rule(inputs)]
        elif not isinstance(layer, Layer):
            sizes = [tensor.shape for tensor in node.output_tensors]
        else:
            return None
        if nested is None and isinstance(layer, Layer) and layer.weights:
            found.add(layer, inputs)
        flowing |= {id(tensor): tuple(one) for tensor, one in zip(node.output_tensors, sizes, strict=True)}
    found.sized, found.channelled = list(dict.fromkeys(found.sized)), list(dict.fromkeys(found.channelled))
    found.outputs = [flowing[id(tensor)] for tensor in graph.outputs]
    return found


def _reads(layer: Any, axes: Axes, names: tuple[str, ...]) -> bool:
    """Whether an axis on which the layer's weights depend carries a size of the model's input of one of these names."""
    of_weights = [getattr(weight, "axes", None) for weight in layer.weights]
    if None in of_weights:  # not declared
        read = [size for name, size in axes if name in _CHANNEL_NAMES] or [axes.sizes[-1]]
    else:
        own = {_received_name(name) for declared in of_weights for name in declared or ()}
        read = [size for name, size in axes if name in own]
    return any(isinstance(size, Dim) and any(word in size.formula for word in names) for size in read)


def _sum_formula(weights: Sequence[WeightFormula]) -> str:
    joined, count = sum_of_products(weights), sum(weight.count for weight in weights)
    return joined if joined == str(count) else f"{joined} = {count:,}"


def sum_of_products(weights: Sequence[WeightFormula]) -> str:
    """`7·7·3·64 + 64`; weights of one shape in a row are counted: `4·64`."""
    groups = [list(group) for _, group in groupby(weights, lambda weight: (weight.numbers, weight.words))]
    terms = (f"{len(group)}·{group[0].numbers}" if len(group) > 1 else group[0].numbers for group in groups)
    return " + ".join(terms) or "0"


def _several(words: str, group: Sequence[WeightFormula]) -> str:
    if len(group) == 1:
        return words
    return f"{len(group)}·{words} ({', '.join(weight.name.replace('_', ' ') for weight in group)})"


def _received_name(name: str) -> str:
    """The axis of the layer's input that an axis of a weight is as long as."""
    return name.removeprefix("input ").removesuffix(" of a group")
