"""`model.minimum_input()`: the smallest image on which every layer still has a position, and who sets the bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial, reduce
from math import gcd
from typing import Any

from lamina.base import tree
from lamina.base.errors import LaminaError
from lamina.explain.calls import Call
from lamina.explain.fields import FieldAxis, ReceptiveField, Source, fields_of, spatial_axes
from lamina.explain.report import Report
from lamina.explain.table import Column, Table
from lamina.explain.trace import Shape, apart, copied, graph_of
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, node_of
from lamina.layers.spatial import ZeroPadding
from lamina.models.rebuilding import replay

_LARGEST = 4096  # positions up to which a size that works is looked for
_LARGEST_STEP = 128  # positions by which sizes may go


@dataclass(frozen=True)
class Stage:
    """The first layer at which `stride` positions of the input have become one.

    `real_from`: the smallest input size on which the layer has more than one position to take together; below it, the
    layer hands on the one position there is.
    """

    layer: str
    stride: int
    real_from: int


@dataclass(frozen=True)
class AxisMinimum:
    """The bound along one axis of an input, in positions.

    `size`: the smallest that works. `bound`: the layer that has no position on a smaller input and why; "" where one
    position is enough. `step`: sizes go by multiples of it, 1 where every larger size works.
    """

    name: str
    size: int
    bound: str = ""
    reason: str = ""
    step: int = 1
    total_stride: int = 1
    stages: tuple[Stage, ...] = ()
    input: str = ""


@dataclass(frozen=True)
class MinimumInput(Report):
    """The smallest input of a model, axis by axis."""

    model: str
    axes: tuple[AxisMinimum, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """The smallest size by axis: {"height": 32, "width": 32}."""
        return {axis.name: axis.size for axis in self.axes}

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Positions of the input that become one, by axis."""
        return tuple(axis.total_stride for axis in self.axes)

    def parts(self) -> Iterator[str | Table]:
        if not self.axes:
            yield f"The inputs of {self.model!r} have no height, width, depth or steps."
            return
        smallest = "×".join(str(axis.size) for axis in self.axes)
        yield f"{self.model}: the smallest input is {smallest} ({', '.join(axis.name for axis in self.axes)})."
        for group in self._alike():
            yield from _axis_lines(group)

    def _alike(self) -> list[list[AxisMinimum]]:
        """The axes in groups of which the same is to be said."""
        groups: list[list[AxisMinimum]] = []
        for axis in self.axes:
            same = next((group for group in groups if _facts(group[0]) == _facts(axis)), None)
            same.append(axis) if same is not None else groups.append([axis])
        return groups

    def to_dict(self) -> dict[str, Any]:
        axes = [vars(axis) | {"stages": [vars(stage) for stage in axis.stages]} for axis in self.axes]
        return {"model": self.model, "axes": axes}


def _facts(axis: AxisMinimum) -> tuple[Any, ...]:
    return axis.size, axis.bound, axis.step, axis.total_stride, axis.stages


def _axis_lines(group: list[AxisMinimum]) -> Iterator[str | Table]:
    axis, names = group[0], " and ".join(one.name for one in group)
    if axis.bound:
        yield f"  {names}: {axis.bound!r} sets the bound; at {axis.size - 1}, {axis.reason}."
    else:
        yield f"  {names}: one position is enough for every layer."
    if axis.step > 1:
        yield f"  {names}: multiples of {axis.step}; between them, branches that are joined do not meet."
    if axis.total_stride == 1:
        yield f"  {names}: total stride 1, nothing is down-sampled."
        return
    yield f"  {names}: total stride {axis.total_stride}; so many positions of the input become one."
    columns = [Column("Down-sampling"), Column("Stride so far", "right"), Column("Real from size", "right")]
    yield Table(columns, [(stage.layer, str(stage.stride), str(stage.real_from)) for stage in axis.stages], lines=False)
    if any(stage.real_from > axis.size for stage in axis.stages):
        yield "Real from size: on a smaller input the layer finds a single position and hands it on."


def minimum_input(model: Any) -> MinimumInput:
    """The smallest height and width (depth, steps) on which every layer has a position, and the layers that set it.

    Each axis is looked at by itself, the others being large. The sizes are those of the shape rules; weights made for
    one size (a Dense behind Flatten) do not count: the model would be built for the smaller input. Errors: a
    LaminaError for a model without a graph, and where no size up to 4,096 works.

    >>> import lamina
    >>> x = lamina.Input((64, 64, 3))
    >>> y = lamina.layers.MaxPooling2D(4, name="pool")(lamina.layers.Conv2D(8, 3, name="conv")(x))
    >>> found = lamina.Model(x, y, name="small").minimum_input()
    >>> found.sizes, found.total_stride, found.axes[0].bound
    ({'height': 6, 'width': 6}, (4, 4), 'pool')
    """
    graph = graph_of(model)
    axes = spatial_axes(graph)
    with apart(model):
        sizes = Sizes(graph)
        try:
            found = _minima(sizes, list(axes), model.name)
        except LaminaError:
            inputs = dict.fromkeys(number for number, _ in axes)
            if len(inputs) < 2:
                raise
            groups = [[source for source in axes if source[0] == number] for number in inputs]
            found = {source: one for group in groups for source, one in _minima(sizes, group, model.name).items()}
        stages = _stages(sizes, max((one.size for one in found.values()), default=1))
        completed = [_completed(found[source], stages[source], *names) for source, names in axes.items()]
    return MinimumInput(model.name, tuple(completed))


@dataclass(frozen=True)
class Walk:
    """The shape of every tensor, by its id, up to the call that fails, if one does, and why it does."""

    shapes: dict[int, Shape]
    failed: str = ""
    reason: str = ""


class _FailedInside(LaminaError):
    """A layer of a nested model has no position."""

    def __init__(self, walk: Walk):
        super().__init__(walk.reason)
        self.walk = walk


class Sizes:
    """The sizes of all tensors of a graph on inputs of other sizes, by the rules of unbuilt copies."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self._copies: dict[int, Any] = {}
        self._known: dict[tuple[Shape, ...], Walk] = {}

    def at(self, sizes: dict[Source, int]) -> Walk:
        inputs = [list(tensor.shape) for tensor in self.graph.inputs]
        for (number, axis), size in sizes.items():
            inputs[number][axis] = size
        return self.on(tuple(map(tuple, inputs)))

    def works(self, sizes: dict[Source, int]) -> bool:
        return not self.at(sizes).failed

    def on(self, inputs: tuple[Shape, ...]) -> Walk:
        if inputs not in self._known:
            self._known[inputs] = self._walk(inputs)
        return self._known[inputs]

    def _walk(self, inputs: tuple[Shape, ...]) -> Walk:
        shapes: dict[int, Shape] = {id(tensor): shape for tensor, shape in zip(self.graph.inputs, inputs, strict=True)}
        called = ""

        def call(node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            nonlocal called
            called = node.operation.name
            outputs = self._outputs(node, args, kwargs, shapes)
            for own, other in zip(node.output_tensors, tree.flatten(outputs), strict=True):
                shapes[id(own)] = other.shape
            return outputs

        starts = [KerasTensor(shape, own.dtype) for shape, own in zip(inputs, self.graph.inputs, strict=True)]
        try:
            replay(self.graph, starts, call)
        except _FailedInside as error:
            return Walk(shapes, f"{called}/{error.walk.failed}", error.walk.reason)
        except (ValueError, TypeError, LaminaError) as error:
            reason = getattr(error, "because", None) or str(error).split("\n")[0]
            return Walk(shapes, called, " ".join(reason.split()))
        return Walk(shapes)

    def _outputs(self, node: Node, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: dict[int, Shape]) -> Any:
        """The outputs of a call; the shapes inside a nested model are noted, those of its first call."""
        own = Call.of(node)
        if not own.has_rule and own.graph is None:
            return copied(node.operation).compute_output_spec(*args, **kwargs)
        if id(node.operation) not in self._copies:
            self._copies[id(node.operation)] = copied(node.operation) if own.graph is None else Sizes(own.graph)
        copy = self._copies[id(node.operation)]
        asked = Call(copy, args, kwargs, None)
        if own.graph is None:
            made = [axes.shape for axes in asked.outputs]
        else:
            walk = copy.on(tuple(tensor.shape for tensor in asked.received))
            if walk.failed:
                raise _FailedInside(walk)
            shapes.update((tensor, shape) for tensor, shape in walk.shapes.items() if tensor not in shapes)
            made = [walk.shapes[id(tensor)] for tensor in own.graph.outputs]
        return [KerasTensor(shape, own.dtype) for shape, own in zip(made, node.output_tensors, strict=True)]


def _minima(sizes: Sizes, sources: list[Source], model: str) -> dict[Source, AxisMinimum]:
    """The smallest size of each axis: that of all together, unless an axis can be smaller than the others."""
    if not sources:
        return {}
    common = _smallest(lambda size: sizes.works(dict.fromkeys(sources, size)))
    if common is None:
        raise LaminaError(f"The model {model!r} works for no height or width up to {_LARGEST:,} that all axes share.")
    large = dict.fromkeys(sources, 8 * common)
    beside = large if sizes.works(large) else dict.fromkeys(sources, common)
    return {source: _axis_minimum(sizes, source, beside) for source in sources}


def _axis_minimum(sizes: Sizes, source: Source, beside: dict[Source, int]) -> AxisMinimum:
    """The smallest size of one axis, beside others that are fixed."""
    works = partial(_works_alone, sizes, beside, source)
    size = _smallest(works) or beside[source]
    if size == 1:
        return AxisMinimum("", 1, step=_step(works, 1))
    smaller = sizes.at({**beside, source: size - 1})
    return AxisMinimum("", size, smaller.failed, smaller.reason, _step(works, size))


def _step(works: Callable[[int], bool], least: int) -> int:
    """The multiple by which sizes go; 1 where every size from the smallest on works."""
    if all(works(least + more) for more in (1, 2, 3)):
        return 1
    working = [size - least for size in range(least + 1, least + _LARGEST_STEP + 1) if works(size)]
    return reduce(gcd, working, 0) or 1


def _works_alone(sizes: Sizes, large: dict[Source, int], source: Source, size: int) -> bool:
    return sizes.works({**large, source: size})


def _smallest(works: Callable[[int], bool]) -> int | None:
    """The smallest size that works: by doubling and halving, or one by one where only multiples do."""
    size = 1
    while not works(size):
        size *= 2
        if size > _LARGEST:
            return next((size for size in range(1, _LARGEST_STEP + 1) if works(size)), None)
    low, high = size // 2, size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def _stages(sizes: Sizes, least: int) -> dict[Source, list[Stage]]:
    """For each spatial axis, the layers at which the stride reaches a new height. `least` is a size that works."""
    fields = fields_of(sizes.graph, inside=True)
    axes = spatial_axes(sizes.graph)

    def takes_several(tensor: KerasTensor, axis: int, size: int) -> bool:
        return (sizes.at(dict.fromkeys(axes, max(size, least))).shapes[id(tensor)][axis] or 1) > 1

    found: dict[Source, list[Stage]] = {}
    for source, (input_name, name) in axes.items():
        stride, found[source] = Fraction(1), []
        for path, node in _calls(sizes.graph):
            along = _along(fields[id(node.output_tensors[0])], input_name, name)
            if along is None or along.stride is None or along.stride <= stride:
                continue
            read = _before_padding(node.input_tensors[0])
            before = _along(fields[id(read)], input_name, name)
            if before is None or before.position is None:
                continue
            stride = along.stride
            real = _smallest(partial(takes_several, read, before.position))
            if real is not None:
                found[source].append(Stage(path, int(stride), real))
    return found


def _calls(graph: Graph, path: str = "") -> Iterator[tuple[str, Node]]:
    """The calls of a graph and of the models nested in it, each with the path to its layer."""
    for node in graph.topology.nodes:
        inner = Call.of(node).graph
        if inner is not None:
            yield from _calls(inner, f"{path}{node.operation.name}/")
        elif not node.is_input:
            yield path + node.operation.name, node


def _along(field: ReceptiveField, input_name: str, name: str) -> FieldAxis | None:
    """The axis of a receptive field that still has positions along an axis of an input."""
    named = (axis for axis in field.axes if (axis.input, axis.name) == (input_name, name))
    return next((axis for axis in named if axis.position is not None), None)


def _before_padding(tensor: KerasTensor) -> KerasTensor:
    """The tensor whose positions a window takes together: zeros around it are none."""
    while tensor._keras_history is not None and isinstance(tensor._keras_history.operation, ZeroPadding):
        tensor = node_of(tensor).input_tensors[0]
    return tensor


def _completed(minimum: AxisMinimum, stages: list[Stage], input_name: str, name: str) -> AxisMinimum:
    total = max((stage.stride for stage in stages), default=1)
    real = tuple(replace(stage, real_from=max(stage.real_from, minimum.size)) for stage in stages)
    return replace(minimum, name=name, input=input_name, stages=real, total_stride=total)
