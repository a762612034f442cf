"""From a graph to the units of a folded program: layers that state their forms, joined where one call can do several.

Models inside the graph are laid open. What joins: padding into the convolution behind it; an affine map (a
normalisation) into the weights before it; an addition and an activation into the convolution, and an activation into
any other form. A value that something else reads too is never joined away.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from lamina.engine.dtypes import TORCH_DTYPES, is_float_name
from lamina.engine.forms import (
    Affine,
    Apply,
    Convolution,
    Form,
    Linear,
    Mean,
    Padding,
    Pointwise,
    Pool,
    Reshaped,
    Sum,
    behind_factor,
    composed,
    fits,
    scaled,
)
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node
from lamina.graph.program import Step
from lamina.graph.record import forms_of_function

# What an activation does not join.
_UNJOINED = Apply | Padding | Pointwise | Pool | Mean | Reshaped


@dataclass
class Unit:
    """One call of a folded program: a form, or a step of the plain program as it is.

    Values have numbers. `plus` is a value that is added to a convolution's result, `after` what is then applied.
    """

    reads: list[int]
    makes: tuple[int, ...]
    rank: int
    dtype: Any
    form: Form | None = None
    step: Step | None = None
    plus: int | None = None
    after: Pointwise | None = None
    packed: dict[Any, Any] = field(default_factory=dict)

    @property
    def made(self) -> int:
        return self.makes[0]

    @property
    def all_reads(self) -> list[int]:
        return self.reads if self.plus is None else [*self.reads, self.plus]


class Unfolded:
    """The units of a graph in its own order, before anything is joined, and the layers whose weights stand in them."""

    def __init__(self, inputs: list[KerasTensor], outputs: list[KerasTensor], nodes: list[Node]):
        self.count = 0
        self.units: list[Unit] = []
        self.layers: dict[int, Any] = {}
        numbers: dict[int, int] = {}
        self.inputs = [numbers.setdefault(id(tensor), self._new()) for tensor in inputs]
        self._add_nodes(nodes, numbers)
        self.outputs = [numbers[id(tensor)] for tensor in outputs]

    def _new(self) -> int:
        self.count += 1
        return self.count - 1

    def _add_nodes(self, nodes: list[Node], numbers: dict[int, int]) -> None:
        for node in nodes:
            if all(id(tensor) in numbers for tensor in node.output_tensors):
                continue
            inner = _graph_to_lay_open(node)
            if inner is not None:
                given = [numbers[id(tensor)] for tensor in node.input_tensors]
                inside = dict(zip(map(id, inner.inputs), given, strict=True))
                self._add_nodes(inner.topology.nodes, inside)
                made = [inside[id(tensor)] for tensor in inner.outputs]
                numbers.update(zip(map(id, node.output_tensors), made, strict=True))
                self._keep(node.operation)
                continue
            forms = _forms_of(node)
            if forms is None:
                self._add_step(node, numbers)
            else:
                self._add_forms(node, forms, numbers)

    def _add_step(self, node: Node, numbers: dict[int, int]) -> None:
        for tensor in node.output_tensors:
            numbers[id(tensor)] = self._new()
        makes = tuple(numbers[id(tensor)] for tensor in node.output_tensors)
        reads = list(dict.fromkeys(numbers[id(tensor)] for tensor in node.input_tensors))
        self.units.append(Unit(reads, makes, 0, None, step=Step(node, numbers)))

    def _add_forms(self, node: Node, forms: list[Form], numbers: dict[int, int]) -> None:
        if hasattr(node.operation, "own_weights"):
            self._keep(node.operation)
        dtype = TORCH_DTYPES[node.output_tensors[0].dtype]
        rank = len(node.input_tensors[0].shape)
        reads = [self._in_dtype(numbers[id(tensor)], tensor, dtype) for tensor in node.input_tensors]
        for form in forms:
            made = self._new()
            self.units.append(Unit(reads, (made,), rank, dtype, form))
            reads = [made]
        numbers[id(node.output_tensors[0])] = reads[0]

    def _in_dtype(self, number: int, tensor: KerasTensor, dtype: Any) -> int:
        if TORCH_DTYPES[tensor.dtype] is dtype:
            return number
        made = self._new()
        cast = Apply(lambda x: x.to(dtype))
        self.units.append(Unit([number], (made,), len(tensor.shape), dtype, cast))
        return made

    def _keep(self, layer: Any) -> None:
        self.layers[id(layer)] = layer


def _graph_to_lay_open(node: Node) -> Any:
    """The graph of a model that is called inside a graph on what it was made for."""
    graph = getattr(node.operation, "graph_to_lay_open", None)
    if graph is None or len(node.args) != 1 or _options(node):
        return None
    given = [(len(tensor.shape), tensor.dtype) for tensor in node.input_tensors]
    made_for = [(len(tensor.shape), tensor.dtype) for tensor in graph.inputs]
    is_plain = isinstance(node.args[0], KerasTensor | list | tuple)
    return graph if is_plain and given == made_for else None


def _options(node: Node) -> bool:
    """Whether a call has arguments that change what is computed."""
    return any(value is not None for key, value in node.kwargs.items() if key != "training")


def _forms_of(node: Node) -> list[Form] | None:
    """The forms of a call; None for whatever has none, or is called in another way than its forms mean."""
    layer, tensors = node.operation, node.input_tensors
    if len(node.output_tensors) != 1 or not all(is_float_name(one.dtype) for one in (*tensors, *node.output_tensors)):
        return None
    if not hasattr(layer, "forms_now"):
        return None if node.kwargs else forms_of_function(layer, node.args, node.output_tensors[0])
    if len(node.args) != 1 or _options(node):
        return None
    alone = isinstance(node.args[0], KerasTensor) or (
        isinstance(node.args[0], list | tuple) and all(isinstance(one, KerasTensor) for one in node.args[0])
    )
    same_rank = len({len(tensor.shape) for tensor in tensors}) == 1
    if not alone or not same_rank:
        return None
    forms: list[Form] | None = layer.forms_now(tensors)
    return forms


def joined_units(unfolded: Unfolded) -> list[Unit]:
    """The units with everything joined that can be."""
    return _Joiner(unfolded).joined()


class _Joiner:
    def __init__(self, unfolded: Unfolded):
        self.units = unfolded.units
        self.readers = Counter(value for unit in self.units for value in unit.all_reads)
        self.readers.update(unfolded.outputs)
        self.place: dict[int, int] = {}  # where in the result the unit stands that makes a value
        self.result: list[Unit | None] = []

    def joined(self) -> list[Unit]:
        for unit in self.units:
            if not (unit.form is not None and self._join(unit)):
                self._append(unit)
        return [unit for unit in self.result if unit is not None]

    def _append(self, unit: Unit) -> None:
        self.result.append(unit)
        for value in unit.makes:
            self.place[value] = len(self.result) - 1

    def _maker(self, value: int) -> Unit | None:
        """The unit that makes a value for one reader only."""
        place = self.place.get(value)
        if place is None or self.readers[value] != 1:
            return None
        maker = self.result[place]
        return maker if maker is not None and maker.form is not None else None

    def _replace(self, old: Unit, new: Unit, makes: tuple[int, ...]) -> None:
        """Puts a joined unit where the old one stood; its result has the number of the last part."""
        place = self.place[old.made]
        new.makes = makes
        self.result[place] = new
        self.place[makes[0]] = place

    def _join(self, unit: Unit) -> bool:
        form = unit.form
        if isinstance(form, Sum):
            return self._join_sum(unit)
        before = self._maker(unit.reads[0])
        if before is None or before.dtype is not unit.dtype:
            return False
        if isinstance(form, Convolution | Pool):
            return self._join_padding(unit, form, before)
        if before.after is not None:
            return isinstance(form, Affine) and self._join_factor(unit, form, before, before.after)
        if isinstance(form, Pointwise) and not isinstance(before.form, _UNJOINED):
            self._replace(before, replace(before, after=form), unit.makes)
            return True
        if isinstance(form, Affine) and before.plus is None:
            return self._join_affine(unit, form, before)
        return False

    def _join_padding(self, unit: Unit, form: Convolution | Pool, before: Unit) -> bool:
        if not isinstance(before.form, Padding) or before.form.data_format != form.data_format:
            return False
        if isinstance(form, Pool) and not (form.kind == "max" and self._is_never_negative(before.reads[0])):
            return False
        padded = replace(form, pads=before.form.pads)
        self._replace(before, replace(unit, form=padded, reads=before.reads), unit.makes)
        return True

    def _is_never_negative(self, value: int) -> bool:
        """Whether zeros beside a value's numbers can never be the largest: it comes out of a ReLU."""
        maker = self.result[self.place[value]] if value in self.place else None
        after = None if maker is None else maker.after
        return after is not None and (after.attribute == "relu" or after.scalars[:1] == (0.0,))

    def _join_affine(self, unit: Unit, form: Affine, before: Unit) -> bool:
        if isinstance(before.form, Affine) and before.form.axis % unit.rank == form.axis % unit.rank:
            self._replace(before, replace(before, form=composed(before.form, form)), unit.makes)
            return True
        if isinstance(before.form, Convolution | Linear) and fits(before.form, form, unit.rank):
            self._replace(before, replace(before, form=scaled(before.form, form)), unit.makes)
            return True
        return False

    def _join_factor(self, unit: Unit, form: Affine, before: Unit, after: Pointwise) -> bool:
        """A number that multiplies what comes out of a ReLU can multiply what goes in."""
        behind = behind_factor(after, form)
        if behind is None or before.plus is not None or not isinstance(before.form, Convolution | Linear):
            return False
        if not fits(before.form, form, unit.rank):
            return False
        self._replace(before, replace(before, form=scaled(before.form, form), after=behind), unit.makes)
        return True

    def _join_sum(self, unit: Unit) -> bool:
        """Into the later of the convolutions whose results are added: the other result is there by then."""
        makers = [(self.place[value], value) for value in unit.reads if self._adds(value, unit)]
        if not makers or unit.reads[0] == unit.reads[1]:
            return False
        place, value = max(makers)
        other = unit.reads[1 - unit.reads.index(value)]
        if self.place.get(other, -1) > place:  # made later: the convolution moves behind it
            maker, self.result[place] = self.result[place], None
            assert maker is not None
            self._append(replace(maker, plus=other, makes=unit.makes))
            return True
        maker = self.result[place]
        assert maker is not None
        self._replace(maker, replace(maker, plus=other), unit.makes)
        return True

    def _adds(self, value: int, unit: Unit) -> bool:
        maker = self._maker(value)
        if maker is None or maker.dtype is not unit.dtype:
            return False
        return isinstance(maker.form, Convolution) and maker.plus is None and maker.after is None
