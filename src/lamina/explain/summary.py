"""`model.summary()`: the table of layers, output shapes and parameters, as Keras prints it, with further columns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lamina.base import tree
from lamina.base.registry import nearest
from lamina.explain.calls import Call
from lamina.explain.fields import ReceptiveField, fields_of
from lamina.explain.observing import Calls, call_of_model, calls_in_graph, calls_inside, calls_of_model
from lamina.explain.quantities import output_bytes, products_of
from lamina.explain.report import Report
from lamina.explain.table import Column, Row, Table, format_bytes, format_count, format_shape, format_short
from lamina.explain.timing import Times, measure
from lamina.graph.history import kind_of
from lamina.layers.input_layer import InputLayer
from lamina.layers.layer import Layer
from lamina.layers.signature import shape_of
from lamina.layers.symbolic import known_output_shape
from lamina.models.sequential import Sequential

COLUMNS = ("params", "macs", "rf", "dtype", "time", "memory", "connected")
_NOT_CALLED = "not called"


@dataclass(frozen=True)
class LayerSummary:
    """A row: one layer (or function) with all its calls.

    `shapes`: the output shapes, each once; empty before any call. `multiply_accumulates` and `activation_bytes` are
    those of all its calls together for one example, None where a size is open; `seconds` of all its calls in one
    forward pass. What was not asked for is None.
    """

    name: str
    class_name: str
    depth: int
    shapes: tuple[Any, ...]
    parameters: int
    built: bool
    trainable: bool | None
    connected_to: tuple[str, ...] = ()
    multiply_accumulates: int | None = None
    activation_bytes: int | None = None
    fields: tuple[ReceptiveField, ...] = ()
    dtypes: tuple[str, ...] = ()
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {
            "shapes": list(self.shapes),
            "connected_to": list(self.connected_to),
            "fields": [one.to_dict() for one in self.fields],
            "dtypes": list(self.dtypes),
        }


@dataclass(frozen=True)
class Summary(Report):
    """The layers of a model and its totals, with the columns that were asked for."""

    model: str
    layers: tuple[LayerSummary, ...]
    totals: dict[str, tuple[int, int]]  # by kind of parameters: their number and their bytes
    shown: tuple[str, ...]
    show_trainable: bool = False
    multiply_accumulates: int | None = None
    activation_bytes: int | None = None
    times: Times | None = field(default=None, repr=False)
    hints: tuple[str, ...] = ()

    def parts(self) -> Iterator[str | Table]:
        yield self.table()

    def table(self) -> Table:
        """The summary as a table, which prints and shows in a notebook."""
        columns = [Column("Layer (type)"), Column("Output Shape", keep=True)]
        columns += [_COLUMNS[name] for name in self.shown]
        if self.show_trainable:
            columns.append(Column("Trainable", "center", keep=True))
        rows = [Row(tuple(self._cells(layer)), indent=layer.depth) for layer in self.layers]
        return Table(columns, rows, title=f'Model: "{self.model}"', footer=list(self._footer()))

    def _cells(self, layer: LayerSummary) -> Iterator[str]:
        yield f"{layer.name} ({layer.class_name})"
        yield "\n".join(map(format_shape, layer.shapes)) or _NOT_CALLED
        for name in self.shown:
            yield _CELLS[name](layer)
        if self.show_trainable:
            yield "-" if layer.trainable is None else "Y" if layer.trainable else "N"

    def _footer(self) -> Iterator[str]:
        for kind, (count, size) in self.totals.items():
            yield f" {kind} params: {format_count(count)} ({format_bytes(size)})"
        if self.multiply_accumulates is not None:
            yield f" Mult-adds: {format_count(self.multiply_accumulates)} for one example"
        if self.activation_bytes is not None:
            yield f" Memory of all outputs: {format_bytes(self.activation_bytes)} for one example"
        if self.times is not None:
            yield f" Time: {_milliseconds(self.times.whole)} ({self.times.conditions})"
        for hint in self.hints:
            yield f" {hint}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "columns": list(self.shown),
            "parameters": {
                kind.lower(): {"count": count, "bytes": size} for kind, (count, size) in self.totals.items()
            },
            "multiply_accumulates": self.multiply_accumulates,
            "activation_bytes": self.activation_bytes,
            "seconds": None if self.times is None else self.times.whole,
            "layers": [layer.to_dict() for layer in self.layers],
        }


_COLUMNS: dict[str, Column] = {
    "params": Column("Param #", "right", keep=True),
    "macs": Column("Mult-adds", "right", keep=True),
    "rf": Column("Field / stride", "right"),
    "dtype": Column("Dtype"),
    "time": Column("Time", "right", keep=True),
    "memory": Column("Memory", "right", keep=True),
    "connected": Column("Connected to"),
}

_CELLS: dict[str, Callable[[LayerSummary], str]] = {
    "params": lambda layer: format_count(layer.parameters) if layer.built else "0 (unbuilt)",
    "macs": lambda layer: _known(layer, layer.multiply_accumulates, format_short),
    "rf": lambda layer: _each(map(_field_text, layer.fields)),
    "dtype": lambda layer: _each(layer.dtypes),
    "time": lambda layer: "-" if layer.seconds is None else _milliseconds(layer.seconds),
    "memory": lambda layer: _known(layer, layer.activation_bytes, format_bytes),
    "connected": lambda layer: ", ".join(layer.connected_to) or "-",
}


def _known(layer: LayerSummary, count: int | None, show: Callable[[int], str]) -> str:
    if not layer.shapes:
        return "-"
    return "open" if count is None else show(count)


def _each(texts: Iterable[str]) -> str:
    return "\n".join(dict.fromkeys(filter(None, texts))) or "-"


def _field_text(one: ReceptiveField) -> str:
    """`7 / 2`, `7×3 / 2×1` where the axes differ, "all" of the input, "" without spatial axes."""
    if "?" in one.short:
        return "not known"
    return " / ".join(filter(None, map(_square, (one.short, one.stride_text))))


def _square(text: str) -> str:
    """`7` for `7×7`."""
    sizes = set(text.split("×"))
    return sizes.pop() if len(sizes) == 1 else text


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Any = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
    *,
    show: Any = None,
    input_shape: Any = None,
    batch_size: int = 1,
) -> None:
    """Prints the summary of a model.

    Parameters: `line_length`, the width of the table, the terminal's by default; `positions`, where the columns end, in
    characters or as parts of the line (else they fit their content); `print_fn`, called with the whole text in place of
    print; the others as in `summarize`.
    """
    found = summarize(
        model,
        expand_nested,
        show_trainable,
        layer_range,
        show=show,
        input_shape=input_shape,
        batch_size=batch_size,
    )
    found.table().show(line_length, print_fn, positions)


def summary_table(model: Any, *args: Any, **kwargs: Any) -> Table:
    """The summary as a table object, which prints and shows in a notebook; the arguments are those of `summarize`."""
    return summarize(model, *args, **kwargs).table()


def summarize(
    model: Any,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
    *,
    show: Any = None,
    input_shape: Any = None,
    batch_size: int = 1,
) -> Summary:
    """The summary of a model as an object: it prints, shows in a notebook and is read as data.

    Parameters: `expand_nested`, also the layers of nested models; `show_trainable`, whether each layer is trained;
    `layer_range`, the names (or patterns) of the first and the last layer to show; `show`, the columns, as a list or
    joined by "|" or ",": "params", "macs" (multiply-accumulates for one example), "rf" (receptive field and stride),
    "dtype" (of the outputs, and of the weights where it is another), "time" (of a forward pass of `batch_size` random
    examples, measured), "memory" (of the outputs for one example), "connected" (whose outputs each layer reads), or
    "all" but the last. By default it shows the parameters, and the connections where the graph has branches.
    `input_shape`, batch axis first, builds a model that is not built, and says on what a subclassed one is called.

    Errors: a ValueError for an unknown column or layer; a LaminaError for times of a model without weight memory.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((8, 8, 1)), lamina.layers.Conv2D(4, 3, name="conv")])
    >>> row = summarize(model, show="macs|rf").layers[0]
    >>> row.shapes, row.multiply_accumulates, row.fields[0].short
    (((None, 6, 6, 4),), 1296, '3×3')
    """
    shown = () if show is None else _columns_of(show)
    _prepare(model, input_shape)
    calls = calls_of_model(model, input_shape)
    shown = shown or ("params", *(["connected"] if _is_branched(model, calls) else []))
    graph = getattr(model, "graph", None)
    reader = _Reader(
        shown,
        show_trainable,
        expand_nested,
        {} if graph is None or "rf" not in shown else fields_of(graph, inside=expand_nested),
        measure(model, input_shape, batch_size) if "time" in shown else None,
    )
    layers = list(_operations(model))
    rows = list(reader.rows(model, layers, calls, 0))
    return Summary(
        model.name,
        tuple(rows if layer_range is None else _chosen_rows(model, layers, rows, layer_range)),
        _totals(model),
        shown,
        show_trainable,
        _total_products(model, rows, input_shape) if "macs" in shown else None,
        _total_memory(rows) if "memory" in shown else None,
        reader.times,
        tuple(_hints(model, rows, shown)),
    )


def _columns_of(show: Any) -> tuple[str, ...]:
    """The columns, in the order in which they were named. Errors: a ValueError with the nearest name."""
    names = [name.strip() for name in re.split(r"[|,]", show)] if isinstance(show, str) else list(show)
    for name in names:
        if name not in (*COLUMNS, "all"):
            raise ValueError(
                f"show has no column {name!r}.{nearest(str(name), list(COLUMNS))} It takes {', '.join(COLUMNS)} or "
                f'all, as a list or joined by "|" or ",".'
            )
    return COLUMNS[:-1] if "all" in names else tuple(dict.fromkeys(names))


def _prepare(model: Any, input_shape: Any) -> None:
    """Builds a model on the given shape if it is not built. Errors: a ValueError for another shape than the graph's."""
    if input_shape is None:
        return
    if not model.built or (isinstance(model, Sequential) and model.graph is None):
        model.build(input_shape)
    graph = getattr(model, "graph", None)
    if graph is not None:
        own = [tensor.shape for tensor in graph.inputs]
        given = [tuple(input_shape)] if tree.is_shape(input_shape) else [tuple(one) for one in _listed(input_shape)]
        if given != own:
            raise ValueError(
                f"{model.title} is built on {format_shape(own[0] if len(own) == 1 else own)} and input_shape is "
                f"{format_shape(input_shape)}. model.what_if(input_shape) shows it on another input."
            )


def _listed(input_shape: Any) -> Iterable[Any]:
    return input_shape.values() if isinstance(input_shape, dict) else input_shape


def _operations(model: Any) -> Iterable[Any]:
    """What the rows stand for: layers, and the functions between them in a graph; not the input of a Sequential."""
    has_graph = getattr(model, "graph", None) is not None
    return model.operations if has_graph and not isinstance(model, Sequential) else model.layers


def _is_branched(model: Any, calls: Calls) -> bool:
    """Whether it matters what is connected to what: no chain from one input."""
    graph = getattr(model, "graph", None)
    if graph is None or isinstance(model, Sequential):
        return False
    read: dict[int, int] = {}
    for node in graph.topology.nodes:
        if len(node.input_tensors) > 1:
            return True
        for tensor in node.input_tensors:
            read[id(tensor)] = read.get(id(tensor), 0) + 1
    return len(graph.inputs) > 1 or any(count > 1 for count in (*read.values(), *map(len, calls.values())))


def _chosen_rows(model: Any, layers: list[Any], rows: list[LayerSummary], layer_range: Any) -> list[LayerSummary]:
    """The rows from the first to the last layer to show. Errors: a ValueError for other than two known names."""
    names = [layer.name for layer in layers]
    if not isinstance(layer_range, list | tuple) or len(layer_range) != 2:
        raise ValueError(f"layer_range is the names of two layers; got {layer_range!r}.")
    bounds = []
    for pattern in layer_range:
        found = [index for index, name in enumerate(names) if name == pattern or re.match(pattern, name)]
        if not found:
            raise ValueError(
                f"layer_range names {pattern!r}, and the model {model.name!r} has no such layer."
                f"{nearest(str(pattern), names)}"
            )
        bounds.append(found)
    starts = [number for number, row in enumerate(rows) if row.depth == 0] + [len(rows)]
    return rows[starts[min(map(min, bounds))] : starts[max(map(max, bounds)) + 1]]


@dataclass(frozen=True)
class _Reader:
    """Makes the rows of a model's layers and, if asked for, of those inside nested models."""

    shown: tuple[str, ...]
    show_trainable: bool
    expand_nested: bool
    fields: dict[int, ReceptiveField]
    times: Times | None

    def rows(self, model: Any, layers: Iterable[Any], calls: Calls, depth: int) -> Iterator[LayerSummary]:
        for layer in layers:
            own = calls.get(id(layer), [])
            yield self._row(model, layer, own, depth)
            if self.expand_nested and getattr(layer, "layers", None):
                yield from self.rows(layer, _operations(layer), _inside(layer, own, calls), depth + 1)

    def _row(self, model: Any, layer: Any, calls: list[Call], depth: int) -> LayerSummary:
        is_layer = isinstance(layer, Layer)
        costs = calls if is_layer or hasattr(layer, "compute_output_spec") else []
        count = _count(layer)
        return LayerSummary(
            str(getattr(layer, "name", "")),
            kind_of(layer),
            depth,
            _shapes(layer, calls),
            count,
            getattr(layer, "built", True) or isinstance(layer, InputLayer),
            bool(getattr(layer, "trainable", True)) if count else None,
            tuple(_sources(calls)) if "connected" in self.shown and not isinstance(model, Sequential) else (),
            _sum(map(products_of, costs)) if "macs" in self.shown else None,
            _sum(map(_memory, costs)) if "memory" in self.shown else None,
            tuple(self._fields(calls)),
            tuple(_dtypes(layer, calls)) if "dtype" in self.shown else (),
            self.times.seconds.get(id(layer)) if self.times is not None else None,
        )

    def _fields(self, calls: list[Call]) -> Iterator[ReceptiveField]:
        for call in calls:
            found = self.fields.get(id(call.produced[0])) if call.produced else None
            if found is not None:
                yield found


def _inside(layer: Any, calls: list[Call], around: Calls) -> Calls:
    """The calls in a nested model: seen together with those around it, or of its graph, or of its own code."""
    if any(id(one) in around for one in layer.layers):
        return around
    graph = getattr(layer, "graph", None)
    if graph is not None:
        return calls_in_graph(graph)
    return calls_inside(calls[0]) if calls else calls_of_model(layer)


def _shapes(layer: Any, calls: list[Call]) -> tuple[Any, ...]:
    """The output shapes of a layer's calls, each once; a tuple of outputs as a list, as Keras shows it."""
    shapes = [shape_of(call.result) for call in calls]
    if not shapes and isinstance(layer, Layer):
        seen = known_output_shape(layer)
        shapes = [] if seen is None else [seen]
    listed = [shape if tree.is_shape(shape) or isinstance(shape, dict) else list(shape) for shape in shapes]
    return tuple({format_shape(shape): shape for shape in listed}.values())


def _sources(calls: list[Call]) -> Iterator[str]:
    for call in calls:
        for tensor in call.received:
            if tensor._keras_history is not None:
                operation, index, place = tensor._keras_history
                yield f"{operation.name}[{index}][{place}]"


def _dtypes(layer: Any, calls: list[Call]) -> Iterator[str]:
    """The dtypes of the outputs; behind each that of the weights, where it is another."""
    made = [tensor.dtype for call in calls for tensor in call.produced]
    weights = getattr(layer, "variable_dtype", None) if _count(layer) else None
    for dtype in made or [getattr(layer, "compute_dtype", "")]:
        if dtype:
            yield dtype if weights in (None, dtype) else f"{dtype} (weights {weights})"


def _count(layer: Any) -> int:
    weights = layer.weights if isinstance(layer, Layer) else list(getattr(layer, "parameters", list)())
    return sum(math.prod(weight.shape) for weight in weights)


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(known)  # type: ignore[arg-type]


def _total_products(model: Any, rows: list[LayerSummary], input_shape: Any) -> int | None:
    """Those of all layers; of a subclassed model those of its code, which may multiply between the layers too."""
    if getattr(model, "graph", None) is not None:
        return _sum(row.multiply_accumulates for row in rows if row.depth == 0)
    call = call_of_model(model, input_shape)
    return None if call is None else products_of(call)


def _memory(call: Call) -> int | None:
    """The memory of a call's outputs; of a nested model's, that of the outputs inside it."""
    if call.graph is None:
        return output_bytes(call)
    return _sum(_memory(Call.of(node)) for node in call.graph.topology.nodes if not node.is_input)


def _total_memory(rows: list[LayerSummary]) -> int | None:
    return _sum(
        row.activation_bytes for row in rows if row.depth == 0 and row.shapes and row.class_name != "InputLayer"
    )


def _totals(model: Any) -> dict[str, tuple[int, int]]:
    trainable = {id(weight) for weight in model.trainable_weights}
    parts: dict[str, list[Any]] = {"Trainable": [], "Non-trainable": []}
    for weight in model.weights:
        parts["Trainable" if id(weight) in trainable else "Non-trainable"].append(weight)
    optimizer = model.optimizer
    if optimizer is not None and optimizer.built and optimizer.variables:
        parts["Optimizer"] = list(optimizer.variables)
    total = [weight for weights in parts.values() for weight in weights]
    return {kind: _size(weights) for kind, weights in {"Total": total, **parts}.items()}


def _size(weights: list[Any]) -> tuple[int, int]:
    counts = [(math.prod(weight.shape), weight.element_size()) for weight in weights]
    return sum(count for count, _ in counts), sum(count * width for count, width in counts)


def _hints(model: Any, rows: list[LayerSummary], shown: tuple[str, ...]) -> Iterator[str]:
    if rows and not any(row.shapes for row in rows):
        yield "Shapes come with summary(input_shape=...), or with the model's first call."
    elif "rf" in shown and getattr(model, "graph", None) is None:
        yield "Receptive fields are known in a graph only; this model is subclassed."
