"""What the page knows of a model: its calls and tensors, groups that fold, programs of sizes, findings."""

from __future__ import annotations

import json
from typing import Any

from lamina.engine.dtypes import torch_dtype
from lamina.explain.calls import Call
from lamina.explain.checking import check_model
from lamina.explain.exploring.rules import CallResult, RuleReader, WeightWay
from lamina.explain.exploring.tracing import Expression, Failure, Program, Question, Result, Text
from lamina.explain.fields import ReceptiveField, fields_of, input_axes
from lamina.explain.grouping import Group, class_name, group_paths
from lamina.explain.quantities import products_of
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, Operation
from lamina.layers.layer import Layer
from lamina.layers.symbolic import first_argument
from lamina.layers.weights import weight_name
from lamina.shapes import Axes

Json = dict[str, Any]


def page_data(model: Any) -> Json:
    """Everything that the page shows, as plain data. Tensors and programs are numbers of a list."""
    page = _Page()
    page.add_graph(model.graph, path="", group=None)
    return {
        "model": {"name": model.name, "class": type(model).__name__, "parameters": model.count_params()},
        "inputs": [
            {"name": name, "axes": list(input_axes(model.graph, tensor)), "tensor": page.tensor(tensor)}
            for name, tensor in zip(model.input_names, model.graph.inputs, strict=True)
        ],
        "outputs": [page.numbers[id(tensor)] for tensor in model.graph.outputs],
        "tensors": page.shapes,
        "nodes": page.nodes,
        "layers": page.layers,
        "groups": page.groups,
        "programs": page.programs,
        "findings": [_finding(finding) for finding in check_model(model).findings],
    }


def _finding(finding: Any) -> Json:
    return {key: getattr(finding, key) for key in ("code", "name", "layer", "what", "why", "mend")}


class _Page:
    """Collects calls and groups of a graph and of the graphs nested in it. Every call of a nested model is shown."""

    def __init__(self) -> None:
        self.nodes: list[Json] = []
        self.groups: list[Json] = []
        self.layers: list[Json] = []
        self.shapes: list[Json] = []
        self.programs: list[Any] = []
        self.numbers: dict[int, int] = {}  # id(tensor) → its number in the graph that is being added
        self._reader = RuleReader()
        self._places: dict[str, int] = {}  # a program's JSON → its number
        self._layer_numbers: dict[int, int] = {}
        self._ids: set[str] = set()

    def tensor(self, tensor: KerasTensor) -> int:
        """The number of a tensor; a new one for one that is new."""
        if id(tensor) not in self.numbers:
            self.numbers[id(tensor)] = len(self.shapes)
            item = torch_dtype(tensor.dtype).itemsize
            self.shapes.append({"shape": list(tensor.shape), "dtype": tensor.dtype, "bytes": item})
        return self.numbers[id(tensor)]

    def add_graph(self, graph: Graph, path: str, group: str | None) -> None:
        given = {id(tensor) for tensor in graph.inputs}
        group_of = self._add_blocks(graph, path, group)
        fields = fields_of(graph)
        for node in graph.topology.nodes:
            is_given = all(id(tensor) in given for tensor in node.output_tensors)
            if is_given and path:
                continue  # what a nested model is given is made outside
            inside = group_of.get(id(node), group)
            if getattr(node.operation, "graph", None) is not None and not is_given:
                self._add_model(node, path, inside)
            else:
                self._add_call(node, path, inside, fields, is_given)

    def _add_call(self, node: Node, path: str, group: str | None, fields: dict[int, Any], is_given: bool) -> None:
        """A call; one whose results the model is given, in the middle of a graph, is only an input."""
        operation = node.operation
        read = [] if is_given else node.input_tensors
        is_layer = isinstance(operation, Layer)
        self.nodes.append(
            {
                "id": self._new_id(path + operation.name),
                "name": operation.name,
                "class": "Input" if is_given else class_name(node) if is_layer else f"ops.{class_name(node)}",
                "layer": None if is_given else self._layer(operation),
                "inputs": [self.tensor(tensor) for tensor in read],
                "received": [list(tensor.shape) for tensor in read],
                "outputs": [self.tensor(tensor) for tensor in node.output_tensors],
                "axes": [_axis_names(operation, tensor) for tensor in node.output_tensors],
                "group": group,
                "program": self._program(node) if read else None,
                "work": 0 if not read else products_of(Call.of(node)),
                "fields": [_field(fields.get(id(tensor))) for tensor in node.output_tensors],
            }
        )

    def _add_model(self, node: Node, path: str, group: str | None) -> None:
        """A nested model as a group; its inner tensors get numbers of their own for this call."""
        model = node.operation
        inner = self._new_id(path + model.name)
        self.groups.append({"id": inner, "name": inner.removeprefix(path), "kind": "model", "group": group})
        given = model._match_inputs(first_argument(node.args, node.kwargs))
        outside, numbers = self.numbers, [self.tensor(tensor) for tensor in given]
        self.numbers = {id(tensor): number for tensor, number in zip(model.graph.inputs, numbers, strict=True)}
        self.add_graph(model.graph, f"{inner}/", inner)
        made = [self.numbers[id(tensor)] for tensor in model.graph.outputs]
        self.numbers = outside
        self.numbers.update((id(tensor), number) for tensor, number in zip(node.output_tensors, made, strict=True))

    def _add_blocks(self, graph: Graph, path: str, outer: str | None) -> dict[int, str]:
        """Groups for blocks of branches, and for stages of several blocks; returns the innermost group of each call."""
        paths = group_paths(graph)
        ids: dict[Group, str | None] = {}
        for stage in _stages(list(dict.fromkeys(path[0] for path in paths.values()))):
            around = self._add_group(path, _stage_name(stage[0]), f"{len(stage)} blocks", outer) if stage[1:] else outer
            ids.update(dict.fromkeys(stage, around))
        made: dict[Group, str] = {}
        for groups in paths.values():
            around = ids[groups[0]]
            for group in groups:
                if group not in made:
                    made[group] = self._add_group(path, group.name, "block", around)
                around = made[group]
        return {node: made[groups[-1]] for node, groups in paths.items()}

    def _add_group(self, path: str, name: str, kind: str, around: str | None) -> str:
        made = self._new_id(f"{path}{name} ({kind})")
        self.groups.append({"id": made, "name": name, "kind": kind, "group": around})
        return made

    def _layer(self, operation: Any) -> int | None:
        """The number of a layer, which several calls may share."""
        if isinstance(operation, Operation):
            return None
        if id(operation) not in self._layer_numbers:
            self._layer_numbers[id(operation)] = len(self.layers)
            weights = [
                _weight(WeightWay(weight_name(w), tuple(w.shape), getattr(w, "axes", None), bool(w.requires_grad)))
                for w in operation.weights
            ]
            self.layers.append({"name": operation.name, "weights": weights})
        return self._layer_numbers[id(operation)]

    def _program(self, node: Node) -> int | None:
        program = self._reader.program(node)
        if program is None:
            return None
        plain = _plain_program(program)
        key = json.dumps(plain)
        if key not in self._places:
            self._places[key] = len(self.programs)
            self.programs.append(plain)
        return self._places[key]

    def _new_id(self, wanted: str) -> str:
        number, made = 1, wanted
        while made in self._ids:
            number += 1
            made = f"{wanted}, call {number}"
        self._ids.add(made)
        return made


def _axis_names(operation: Any, tensor: KerasTensor) -> list[str]:
    named = operation.axis_names(tensor.ndim) if isinstance(operation, Layer) else Axes.of(tensor.shape).names
    return list(named)


def _field(field: ReceptiveField | None) -> Json | None:
    """A receptive field in words, and its size and stride per axis ("all" and "?" for what is no number)."""
    if field is None or not field.axes:
        return None
    return {
        "short": field.short,
        "sentence": field.sentence,
        "axes": [[axis.name, axis.size, str(axis.stride or ""), axis.unknown] for axis in field.axes],
    }


def _stage_name(group: Group) -> str:
    return group.name.rpartition("_")[0]


def _stages(found: list[Group]) -> list[list[Group]]:
    """Neighbouring blocks whose names differ behind the last underscore only: conv2_block1, conv2_block2, ..."""
    stages: list[list[Group]] = []
    for group in found:
        before = stages[-1][-1] if stages else None
        same = before is not None and _stage_name(group) and _stage_name(before) == _stage_name(group)
        if before is not None and same and _follows(group, before):
            stages[-1].append(group)
        else:
            stages.append([group])
    return stages


def _follows(group: Group, before: Group) -> bool:
    """Whether all that a block reads comes from the one before it."""
    inside, source = ({id(node) for node in one.nodes} for one in (group, before))
    return all(id(parent) in inside | source for node in group.nodes for parent in node.parent_nodes)


# Programs as lists, short: a size is [input, axis], an operation [operator, left, right].


def _plain_program(program: Program) -> Any:
    if isinstance(program, Question):
        operator, left, right = program.asks
        asks = [operator, _plain(left), _plain(right)]
        return {"ask": asks, "yes": _plain_program(program.yes), "no": _plain_program(program.no)}
    if isinstance(program, Failure):
        return {"fail": [_plain_text(text) for text in (program.headline, program.because, program.mend)]}
    if isinstance(program, Result):
        return _plain_result(program.value)
    return {}


def _plain_result(result: CallResult) -> Any:
    return {
        "outputs": [
            [[axis.name, _plain(axis.size), axis.formula, _plain_text(axis.arithmetic)] for axis in axes]
            for axes in result.outputs
        ],
        "weights": [_weight(weight) for weight in result.weights],
        "work": _plain(result.multiply_accumulates),
        "workText": _plain_text(result.multiply_accumulates_arithmetic),
    }


def _weight(weight: WeightWay) -> Any:
    sizes = [_plain(size) for size in weight.sizes]
    return [weight.name, sizes, list(weight.axes) if weight.axes is not None else None, weight.trainable]


def _plain(expression: Expression | None) -> Any:
    if expression is None or isinstance(expression, int):
        return expression
    operator, one, two = expression
    return [one, two] if operator == "size" else [operator, _plain(one), _plain(two)]


def _plain_text(text: Text) -> Any:
    return [part if isinstance(part, str) else [_plain(part[0]), part[1]] for part in text]
