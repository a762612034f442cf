"""`model.what_if(input_shape)`: the model's table beside the same model on another input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lamina.explain.arithmetic import explain_model, sum_of_products, weights_of
from lamina.explain.calls import Call
from lamina.explain.quantities import output_bytes, products_of
from lamina.explain.report import Report
from lamina.explain.table import Column, Row, Table, format_bytes, format_count, format_shape, format_short
from lamina.explain.trace import Shape, Step, Trace, graph_of, trace
from lamina.layers.layer import Layer


@dataclass(frozen=True)
class Quantities:
    """What a call gives and costs: its output shapes, parameters, and for one example products and bytes."""

    shapes: tuple[Shape, ...]
    parameters: int
    parameter_formula: str
    multiply_accumulates: int | None
    activation_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "shapes": [list(shape) for shape in self.shapes]}


@dataclass(frozen=True)
class Change:
    """One call: as the model is (`own`) and on the other input (`other`, None from the layer that fails on)."""

    name: str
    class_name: str
    own: Quantities
    other: Quantities | None
    depth: int = 0

    @property
    def differs(self) -> bool:
        return self.own != self.other

    def to_dict(self) -> dict[str, Any]:
        other = None if self.other is None else self.other.to_dict()
        named = {"name": self.name, "class_name": self.class_name, "depth": self.depth, "differs": self.differs}
        return named | {"own": self.own.to_dict(), "other": other}


@dataclass(frozen=True)
class WhatIf(Report):
    """A model on its own input and on another; where that is not `possible`, which layer fails, and why."""

    model: str
    own_inputs: tuple[Shape, ...]
    other_inputs: tuple[Shape, ...]
    changes: tuple[Change, ...]
    parameters: tuple[int, int]
    why: str
    failed_layer: str = ""
    failure: str = ""

    @property
    def possible(self) -> bool:
        return not self.failed_layer

    @property
    def parameter_changes(self) -> list[Change]:
        """The calls whose layers would have other parameters."""
        return [one for one in self._leaves() if one.other and one.other.parameters != one.own.parameters]

    def total(self, quantity: str) -> tuple[int | None, int | None]:
        """A quantity ("multiply_accumulates", "activation_bytes") of the whole model: as it is, and on the other."""
        leaves = self._leaves()
        own = _sum(getattr(one.own, quantity) for one in leaves)
        return own, _sum(getattr(one.other, quantity) for one in leaves if one.other) if self.possible else None

    def _leaves(self) -> list[Change]:
        """The calls without the nested models, whose layers are listed too."""
        pairs = zip(self.changes, [*self.changes[1:], None], strict=True)
        return [one for one, following in pairs if following is None or following.depth <= one.depth]

    def parts(self) -> Iterator[str | Table]:
        columns = (
            Column("Layer (type)"),
            Column("Output Shape", keep=True),
            Column("Param #", "right", keep=True),
            Column("Mult-adds", "right", keep=True),
        )
        rows = [_row(one) for one in self.changes]
        if not self.possible:
            rows.append(Row((f"{self.failed_layer}: {self.failure}",), section=True))
        inputs = f"{_inputs(self.own_inputs)} → {_inputs(self.other_inputs)}"
        yield Table(columns, rows, f'Model "{self.model}": {inputs}', self._footer(), lines=False)

    def _footer(self) -> list[str]:
        if not self.possible:
            return [f" {_inputs(self.other_inputs)} is not possible: {self.failed_layer!r} fails."]
        lines = [f" Params: {_both(*self.parameters, format_count)}"]
        for label, quantity, show in (
            ("Mult-adds", "multiply_accumulates", format_short),
            ("Memory of all outputs", "activation_bytes", format_bytes),
        ):
            own, other = self.total(quantity)
            if own is not None and other is not None:
                lines.append(f" {label}: {_both(own, other, show)}{_times(own, other)}")
        return [*lines, f" {self.why}"]

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "own_inputs": [list(shape) for shape in self.own_inputs],
            "other_inputs": [list(shape) for shape in self.other_inputs],
            "possible": self.possible,
            "failed_layer": self.failed_layer or None,
            "failure": self.failure or None,
            "parameters": list(self.parameters),
            "multiply_accumulates": list(self.total("multiply_accumulates")),
            "activation_bytes": list(self.total("activation_bytes")),
            "why": self.why,
            "layers": [one.to_dict() for one in self.changes],
        }


def what_if(model: Any, input_shape: Any) -> WhatIf:
    """The model's table beside the same model's on another input: shapes, parameters, multiply-adds and memory.

    `input_shape` is one shape, with or without the batch axis, or for several inputs a list or a dict by their names;
    other numbers of channels too. Every layer is made anew without memory, so nothing is allocated and the model stays
    as it is. Where the other input is impossible, the table runs to the layer that fails, and its reason stands there.

    >>> import lamina
    >>> x = lamina.Input((8, 8, 3))
    >>> model = lamina.Model(x, lamina.layers.Conv2D(4, 3, name="conv")(x))
    >>> found = model.what_if((8, 8, 1))
    >>> found.parameters, found.parameter_changes[0].name
    ((112, 40), 'conv')
    >>> model.what_if((2, 8, 3)).failed_layer
    'conv'
    """
    graph = graph_of(model)
    found = trace(model, input_shape)
    counted: set[int] = set()
    changes = list(_changes(found, counted, 0))
    parameters = _count(graph.operations), _count(step.other.operation for step in _leaves(found))
    failed = found.failed
    return WhatIf(
        model.name,
        tuple(tensor.shape for tensor in graph.inputs),
        tuple(found.inputs),
        tuple(changes),
        parameters,
        _why(model, changes, parameters) if failed is None else "",
        "" if failed is None else _failed_name(found),
        found.reason,
    )


def _failed_name(found: Trace) -> str:
    assert found.failed is not None
    inner = getattr(found.error, "layer", None)
    own = found.failed.operation.name
    return f"{own}/{inner}" if found.failed.graph is not None and inner and inner != own else own


def _leaves(found: Trace) -> Iterator[Step]:
    for step in found.steps:
        if step.inner is None:
            yield step
        else:
            yield from _leaves(step.inner)


def _changes(found: Trace, counted: set[int], depth: int) -> Iterator[Change]:
    for step in found.steps:
        operation = step.own.operation
        first = id(operation) not in counted
        counted.add(id(operation))
        yield Change(
            operation.name,
            type(operation).__name__,
            _quantities(step.own, first),
            _quantities(step.other, first),
            depth,
        )
        if step.inner is not None:
            yield from _changes(step.inner, counted, depth + 1)
    if found.failed is not None:
        operation = found.failed.operation
        first = id(operation) not in counted
        yield Change(operation.name, type(operation).__name__, _quantities(found.failed, first), None, depth)


def _quantities(call: Call, first: bool) -> Quantities:
    """Of one call; weights are counted at a layer's first call, and in a nested model at its layers."""
    counts = first and isinstance(call.operation, Layer) and call.graph is None
    weights = list(weights_of(call.operation)) if counts else []
    return Quantities(
        tuple(tensor.shape for tensor in call.produced),
        sum(weight.count for weight in weights),
        sum_of_products(weights),
        products_of(call),
        output_bytes(call),
    )


def _count(operations: Iterable[Any]) -> int:
    weights = {id(weight): weight.numel() for one in operations if isinstance(one, Layer) for weight in one.weights}
    return sum(weights.values())


def _why(model: Any, changes: list[Change], parameters: tuple[int, int]) -> str:
    differing = [one for one in changes if one.other and one.own.parameters != one.other.parameters]
    if not differing:
        return str(explain_model(model).conclusion)
    first = differing[0]
    assert first.other is not None
    where = f"all in {first.name!r}" if len(differing) == 1 else f"in {len(differing)} layers, the first {first.name!r}"
    difference = f"{parameters[1] - parameters[0]:+,}".replace("-", "−")
    return f"{difference} parameters, {where}: {first.own.parameter_formula} → {first.other.parameter_formula}"


def _row(one: Change) -> Row:
    own, other = one.own, one.other
    title = f"{one.name} ({one.class_name})"
    if other is None:
        return Row((title, f"{_shapes(own)}\n→ fails", format_count(own.parameters), _short(own)), one.depth)
    return Row(
        (
            title,
            _changed(_shapes(own), _shapes(other)),
            _changed(format_count(own.parameters), format_count(other.parameters)),
            _changed(_short(own), _short(other)),
        ),
        one.depth,
    )


def _changed(own: str, other: str) -> str:
    return own if own == other else f"{own}\n→ {other}"


def _shapes(quantities: Quantities) -> str:
    return ", ".join(map(format_shape, quantities.shapes))


def _short(quantities: Quantities) -> str:
    count = quantities.multiply_accumulates
    return "?" if count is None else format_short(count)


def _inputs(shapes: tuple[Shape, ...]) -> str:
    return ", ".join(map(format_shape, shapes))


def _both(own: Any, other: Any, show: Any) -> str:
    return f"{show(own)}, the same" if own == other else f"{show(own)} → {show(other)}"


def _times(own: int, other: int) -> str:
    if own == other or not own:
        return ""
    times = other / own
    return f" ({times:.2f} times)" if times >= 0.1 else f" ({times:.2g} times)"


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(known)  # type: ignore[arg-type]
