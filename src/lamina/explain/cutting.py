"""Where a model can be cut: the places at which one tensor carries everything, and the model up to one of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from lamina.base.errors import LaminaError, ShapeError
from lamina.base.registry import nearest
from lamina.explain.calls import Call
from lamina.explain.fields import ReceptiveField, fields_of
from lamina.explain.quantities import products_of
from lamina.explain.report import Report
from lamina.explain.table import Column, Table, format_count
from lamina.graph.function import Graph
from lamina.graph.history import kind_of
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, node_of
from lamina.graph.regions import blocks, carriers
from lamina.layers import ZeroPadding1D, ZeroPadding2D, ZeroPadding3D
from lamina.models import Model
from lamina.models.cuts import on_purpose

_SHOWN = 4  # names of a longer list in a message


@dataclass(frozen=True)
class Cut:
    """A place where the model can be cut: the output of a layer that carries everything.

    `parameters` and `multiply_accumulates` (for one example; None where a layer does not say) are those of the model up
    to here, `share` the part of all multiply-accumulates that this is. `stage_end`: the last such place before the
    stride changes. `tensor` is the symbolic tensor, for `Model(model.inputs, [cut.tensor, ...])`.
    """

    layer: str
    class_name: str
    shape: tuple[int | None, ...]
    receptive_field: ReceptiveField
    parameters: int
    multiply_accumulates: int | None
    share: float | None
    stage_end: bool
    tensor: KerasTensor = field(repr=False, compare=False)

    @property
    def stride(self) -> str:
        """`4`, or `4×2` where the axes differ: positions of the input from one position to the next; "" without."""
        return _same(self.receptive_field.stride_text)

    @property
    def field_size(self) -> str:
        """The size of the receptive field in the same form."""
        return _same(self.receptive_field.short)

    def to_dict(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "class_name": self.class_name,
            "shape": list(self.shape),
            "receptive_field": self.receptive_field.to_dict(),
            "parameters": self.parameters,
            "multiply_accumulates": self.multiply_accumulates,
            "share": self.share,
            "stage_end": self.stage_end,
        }


@dataclass(frozen=True)
class Cuts(Report):
    """The places where a model can be cut, from the input to the output; by number or by the layer's name."""

    model: str
    places: tuple[Cut, ...]

    @property
    def stage_ends(self) -> tuple[Cut, ...]:
        """The last place of each stride: what a feature pyramid or a fine-tuned head is usually put on."""
        return tuple(place for place in self.places if place.stage_end)

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Cut]:
        return iter(self.places)

    def __getitem__(self, key: int | str) -> Cut:
        if isinstance(key, int):
            return self.places[key]
        for place in self.places:
            if place.layer == key:
                return place
        names = [place.layer for place in self.places]
        raise KeyError(f"the model {self.model!r} cannot be cut at a layer {key!r}.{nearest(key, names)}")

    def parts(self) -> Iterator[str | Table]:
        if not self.places:
            yield f"No tensor of the model {self.model!r} carries everything: its branches run from end to end."
            return
        columns = (
            Column("Layer"),
            Column("Shape", keep=True),
            Column("Stride", "right", keep=True),
            Column("Field", "right", keep=True),
            Column("Params", "right", keep=True),
            Column("MACs", "right", keep=True),
        )
        yield Table(columns, [_row(place) for place in self.places], f"Cuts of the model {self.model!r}", lines=False)
        yield (
            "Shapes are without the batch axis; stride and field are positions of the input; Params and MACs are the "
            "parameters up to here and the share of all multiply-accumulates."
        )
        if self.stage_ends:
            yield "* ends a stage: the last place before the stride changes, the usual one to take features from."

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "cuts": [place.to_dict() for place in self.places]}


def _row(place: Cut) -> tuple[str, ...]:
    shape = str(place.shape[1:])
    share = "?" if place.share is None else f"{place.share:.0%}"
    name = place.layer + " *" * place.stage_end
    return name, shape, place.stride, place.field_size, format_count(place.parameters), share


def _same(text: str) -> str:
    """One number where all axes have the same."""
    numbers = set(text.split("×"))
    return numbers.pop() if len(numbers) == 1 else text


def find_cuts(model: Any) -> Cuts:
    """The places of a model at which one tensor carries everything, so that it can be cut there without loss.

    Each with its shape, total stride, receptive field, and the parameters and the share of the multiply-accumulates up
    to there. The inputs are left out. Padding that only serves the next window does not end a stage.

    Errors: a LaminaError for a model without a graph.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     cuts = lamina.applications.ResNet50(weights=None).cuts()
    >>> [(cut.layer, cut.stride, cut.field_size) for cut in cuts.stage_ends[:3]]
    [('conv1_relu', '2', '7'), ('conv2_block3_out', '4', '35'), ('conv3_block4_out', '8', '99')]
    >>> cuts["conv2_block3_out"].shape, cuts["conv2_block3_out"].parameters
    ((None, 56, 56, 256), 229760)
    """
    graph = _graph_of(model)
    fields = fields_of(graph)
    given = {id(tensor) for tensor in graph.inputs}
    found = [(node, tensor) for node, tensor in carriers(graph) if id(tensor) not in given]
    ends = _stage_ends([(node, fields[id(tensor)]) for node, tensor in found])
    places = []
    before = _totals(graph)
    whole = before[id(graph.topology.nodes[-1])][1]
    for node, tensor in found:
        parameters, products = before[id(node)]
        places.append(
            Cut(
                node.operation.name,
                kind_of(node.operation),
                tensor.shape,
                fields[id(tensor)],
                parameters,
                products,
                None if products is None or not whole else products / whole,
                id(node) in ends,
                tensor,
            )
        )
    return Cuts(model.name, tuple(places))


def _stage_ends(places: list[tuple[Node, ReceptiveField]]) -> set[int]:
    """The ids of the calls that are the last with their stride, padding layers not counted."""
    padding = (ZeroPadding1D, ZeroPadding2D, ZeroPadding3D)
    computing = [place for place in places if not isinstance(place[0].operation, padding)]
    stages = groupby(computing, key=lambda place: tuple(axis.stride for axis in place[1].axes))
    return {id(list(stage)[-1][0]) for strides, stage in stages if strides and None not in strides}


def _totals(graph: Graph) -> dict[int, tuple[int, int | None]]:
    """By each call's id: the parameters and multiply-accumulates up to it, in an order in which the calls can run."""
    totals: dict[int, tuple[int, int | None]] = {}
    counted: set[int] = set()
    parameters = 0
    products: int | None = 0
    for node in graph.topology.nodes:
        for weight in getattr(node.operation, "weights", ()):
            if id(weight) not in counted:  # a shared layer counts once
                counted.add(id(weight))
                parameters += math.prod(weight.shape)
        more = products_of(Call.of(node))
        products = None if products is None or more is None else products + more
        totals[id(node)] = parameters, products
    return totals


def _graph_of(model: Any) -> Graph:
    graph = getattr(model, "graph", None)
    if graph is None:
        raise LaminaError(
            f"{model.title} is no graph, so it has no places to cut at: give a Sequential an Input or build it; write "
            f"a subclassed model as Model(inputs, outputs)."
        )
    return graph


def cut_model(model: Any, at: Any, force: bool = False) -> Model:
    """The model from the inputs to a layer; it shares the layers, and so the weights, with the whole model.

    `at`: the name of a layer, the layer, a symbolic tensor of the model, or an entry of `cuts()`. Of several inputs,
    those are kept on which the layer depends. With `force=True` a cut inside a block is made too, without a warning
    (`check()` still says so).

    Errors: a ShapeError inside a block, where the layer's output meets, further on, a branch that goes around it: it
    names the merge, what would be lost and the nearest places. A LaminaError for a name that the model does not have,
    for one inside a nested model (`"inner/conv"`), which can itself be cut, and for a layer that is called twice.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     model = lamina.applications.ResNet50(weights=None)
    >>> model.cut(at="conv2_block1_out").output_shape
    (None, 56, 56, 256)
    >>> model.cut(at="conv2_block1_1_conv")
    Traceback (most recent call last):
      ...
    lamina.ShapeError: A cut at 'conv2_block1_1_conv' would end the model inside the block 'conv2_block1'.
      received   (None, 56, 56, 64)  from Conv2D 'conv2_block1_1_conv'
      expected   a tensor that carries everything:
                 (None, 56, 56, 64)  from 'pool1_pool', before it
                 (None, 56, 56, 256)  from 'conv2_block1_out', behind it
      because    'conv2_block1_add' closes the block: there what follows 'conv2_block1_1_conv' meets the
                 branch of 'conv2_block1_0_conv', 'conv2_block1_0_bn', which goes around it and would be
                 lost
      to mend    cut at 'pool1_pool' or 'conv2_block1_out'; force=True cuts all the same
    """
    graph = _graph_of(model)
    tensor = _tensor_at(model, graph, at)
    refusal = _refusal(graph, tensor)
    if refusal is not None and not force:
        raise refusal
    inputs = _inputs_for(graph, tensor)
    with on_purpose.set(True):
        return Model(inputs, tensor, name=f"{model.name}_to_{_name(tensor)}".replace("/", "_"))


# ------------------------------------------------------------------------------------------------- what is asked for


def _tensor_at(model: Any, graph: Graph, at: Any) -> KerasTensor:
    """The symbolic tensor that `at` means."""
    at = at.tensor if isinstance(at, Cut) else at
    if isinstance(at, KerasTensor):
        return _own(model, graph, at)
    operation = _named(model, graph, at) if isinstance(at, str) else at
    nodes = [node for node in graph.topology.nodes if node.operation is operation]
    if not nodes:
        what = f"{type(at).__name__} {at.name!r}" if hasattr(at, "name") else repr(at)
        raise LaminaError(
            f"cut(at=...) takes the name of a layer of the model {model.name!r}, the layer or a symbolic tensor of "
            f"the model; {what} is none of them."
        )
    if len(nodes) > 1:
        shapes = ", ".join(str(node.output_tensors[0].shape) for node in nodes)
        raise LaminaError(
            f"The model {model.name!r} calls {operation.name!r} {len(nodes)} times, with the results {shapes}. Cut at "
            f"one of these tensors: cut(at=tensor), for a tensor that a call of the layer returned."
        )
    read = {id(tensor) for tensor in graph.outputs} | {
        id(tensor) for node in graph.topology.nodes for tensor in node.input_tensors
    }
    results = [tensor for tensor in nodes[0].output_tensors if id(tensor) in read] or nodes[0].output_tensors
    if len(results) > 1:
        shapes = ", ".join(str(tensor.shape) for tensor in results)
        raise LaminaError(
            f"{operation.name!r} gives {len(results)} tensors that the model {model.name!r} reads, {shapes}. Cut at "
            f"one of them: cut(at=tensor)."
        )
    return results[0]


def _own(model: Any, graph: Graph, tensor: KerasTensor) -> KerasTensor:
    if any(tensor is one for node in graph.topology.nodes for one in node.output_tensors):
        return tensor
    raise LaminaError(
        f"{tensor!r} is no tensor of the model {model.name!r}: it was made outside, or in a nested model. Take the "
        f"output of one of the model's layers: model.get_layer(name).output."
    )


def _named(model: Any, graph: Graph, name: str) -> Any:
    """The layer or function of a name. Errors: a LaminaError with the nearest name, or with the nested model."""
    for operation in graph.operations:
        if operation.name == name:
            return operation
    for operation in graph.operations:
        inner = getattr(operation, "graph", None)
        if inner is None:
            continue
        rest = name.removeprefix(f"{operation.name}/")
        if any(one.name == rest.split("/")[0] for one in inner.operations):
            raise LaminaError(
                f"{rest!r} lies inside the nested model {operation.name!r}, whose tensors are not those of "
                f"{model.name!r}. Cut the nested model: model.get_layer({operation.name!r}).cut({rest!r})."
            )
    names = [operation.name for operation in graph.operations]
    raise LaminaError(
        f"The model {model.name!r} has no layer {name!r} to cut at.{nearest(name, names)} model.cuts() lists the "
        f"places."
    )


def _inputs_for(graph: Graph, tensor: KerasTensor) -> Any:
    """The inputs on which a tensor depends, in the structure in which the model takes them."""
    needed = {id(node) for node in _ancestors(graph, tensor)}
    kept = [one for one in graph.inputs if id(node_of(one)) in needed]
    if len(kept) == len(graph.inputs):
        return graph.input_structure
    if isinstance(graph.input_structure, dict):
        return {key: one for key, one in graph.input_structure.items() if any(one is other for other in kept)}
    return kept[0] if len(kept) == 1 else kept


# ---------------------------------------------------------------------------------------------- what goes around it


def _refusal(graph: Graph, tensor: KerasTensor) -> ShapeError | None:
    """Why a tensor is no place to cut at: what goes around it and meets again what follows it. None: nothing does."""
    before = {id(node) for node in _ancestors(graph, tensor)}
    made_before = {id(one) for node in graph.topology.nodes if id(node) in before for one in node.output_tensors} - {
        id(tensor)
    }
    behind, around, merge = {id(tensor)}, dict[int, Node](), None
    for node in graph.topology.nodes:
        if id(node) in before:
            continue
        read = {id(one) for one in node.input_tensors}
        made = {id(one): node for one in node.output_tensors}
        goes_around = not read.isdisjoint(made_before | around.keys())
        if not read.isdisjoint(behind):
            if goes_around:
                merge = node
                break
            behind |= made.keys()
        elif goes_around:
            around |= made
    if merge is None:
        return None
    return _inside_block(graph, tensor, merge, _lost(merge, behind, around))


def _lost(merge: Node, behind: set[int], around: dict[int, Node]) -> str:
    """What a merge joins with the way that leads through the cut, in words."""
    shortcuts, branch = [], dict[int, Node]()
    waiting = [one for one in merge.input_tensors if id(one) not in behind]
    for one in waiting:
        if id(one) not in around:
            shortcuts.append(repr(_name(one)))
    while waiting:
        node = around.get(id(waiting.pop()))
        if node is not None and id(node) not in branch:
            branch[id(node)] = node
            waiting += node.input_tensors
    names = [repr(node.operation.name) for node in dict.fromkeys(around.values()) if id(node) in branch]
    parts = []
    if shortcuts:
        parts.append(f"the shortcut from {_listed(dict.fromkeys(shortcuts))}")
    if names:
        parts.append(f"the branch of {_listed(names)}")
    return " and ".join(parts)


def _inside_block(graph: Graph, tensor: KerasTensor, merge: Node, lost: str) -> ShapeError:
    name, closing = _name(tensor), merge.operation.name
    block = next((one for one in blocks(graph) if any(node is node_of(tensor) for node in one.nodes)), None)
    where = f"the block {block.name!r}" if block is not None and not block.name.startswith("block ") else "a block"
    places = _nearest_places(graph, tensor, None if block is None else block.exit)
    sizes = [f"{place.shape}  from {_name(place)!r}, {side} it" for side, place in places.items()]
    names = " or ".join(repr(_name(place)) for place in places.values())
    return ShapeError(
        f"A cut at {name!r} would end the model inside {where}.",
        layer=name,
        received=f"{tensor.shape}  from {kind_of(node_of(tensor).operation)} {name!r}",
        expected="\n".join(["a tensor that carries everything:", *sizes])
        if sizes
        else "a tensor that carries everything; this model has none",
        because=f"{closing!r} closes the block: there what follows {name!r} meets {lost}, which goes around it and "
        f"would be lost",
        mend=(f"cut at {names}; " if names else "") + "force=True cuts all the same",
    )


def _nearest_places(graph: Graph, tensor: KerasTensor, leaving: KerasTensor | None) -> dict[str, KerasTensor]:
    """The last place to cut at before a tensor, if it is no input, and the first behind: the end of its block."""
    before = {id(node) for node in _ancestors(graph, tensor)}
    given = {id(one) for one in graph.inputs}
    found: dict[str, KerasTensor] = {}
    for node, place in carriers(graph):
        if id(node) in before:
            if id(place) not in given:
                found["before"] = place
        elif leaving is None or place is leaving:
            found["behind"] = place
            break
    return found


def _ancestors(graph: Graph, tensor: KerasTensor) -> list[Node]:
    """The calls of a graph on which a tensor depends, the one that makes it included."""
    given = {id(one) for one in graph.inputs}
    found: dict[int, Node] = {}
    waiting = [tensor]
    while waiting:
        one = waiting.pop()
        node = node_of(one)
        if id(node) not in found:
            found[id(node)] = node
            if id(one) not in given:
                waiting += node.input_tensors
    return list(found.values())


def _name(tensor: KerasTensor) -> str:
    return str(node_of(tensor).operation.name)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _SHOWN
    return ", ".join(names) if more < 2 else ", ".join(names[:_SHOWN]) + f" and {more} more"
