"""What the checks look at: the graphs of a model and of the models inside it, who reads what, and a sample of data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from lamina.explain.fields import ReceptiveField, fields_of, input_axes
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, node_of
from lamina.layers.layer import Layer
from lamina.layers.same_shape import SameShape
from lamina.layers.spatial import ZeroPadding
from lamina.layers.weights import children
from lamina.models.model import Model
from lamina.training.batches import unpack_x_y_sample_weight


class View:
    """The graph of a model, or of a model inside it: its calls, and the calls that read a tensor."""

    def __init__(self, model: Any, prefix: str = ""):
        self.model, self.prefix = model, prefix
        self.graph: Graph = model.graph
        self.inputs = {id(tensor): number for number, tensor in enumerate(self.graph.inputs)}
        self.outputs = {id(tensor) for tensor in self.graph.outputs}
        self.nodes = [
            node for node in self.graph.topology.nodes if not all(id(one) in self.inputs for one in node.output_tensors)
        ]
        self._readers: dict[int, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for one in {id(tensor) for tensor in node.input_tensors}:
                self._readers[one].append(node)

    def path(self, node: Node) -> str:
        """The name of a call's layer, with the path to it."""
        return f"{self.prefix}{node.operation.name}"

    def readers(self, tensor: KerasTensor) -> list[Node]:
        """The calls of this graph that read a tensor."""
        return self._readers.get(id(tensor), [])

    def parent(self, tensor: KerasTensor) -> Node | None:
        """The call that made a tensor; None for an input of the graph."""
        return None if id(tensor) in self.inputs else node_of(tensor)

    def padding(self, tensor: KerasTensor) -> tuple[KerasTensor, list[tuple[int, int]]]:
        """Where a tensor's numbers come from, and the zeros (before, after) that ZeroPadding put around each spatial
        axis of them since. Layers that keep the shape are passed, since they leave padding without information."""
        zeros: list[tuple[int, int]] = []
        while (node := self.parent(tensor)) is not None and len(node.input_tensors) == 1:
            if isinstance(node.operation, ZeroPadding):
                pairs = zip(zeros or [(0, 0)] * node.operation.rank, node.operation.pairs, strict=True)
                zeros = [(one[0] + other[0], one[1] + other[1]) for one, other in pairs]
            elif not isinstance(node.operation, SameShape):
                break
            tensor = node.input_tensors[0]
        return tensor, zeros

    def growth(self, tensor: KerasTensor, axis: str) -> tuple[int, int] | None:
        """The size of the model's input along a spatial axis, and by how much it must grow for the tensor to grow by
        one position; None where that is not known, or the tensor lies in a nested model."""
        places = [place for place in self.fields[id(tensor)].axes if place.name == axis]
        if self.prefix or len(places) != 1 or places[0].stride is None or places[0].stride.denominator > 1:
            return None
        source = next(one for one in self.graph.inputs if node_of(one).operation.name == places[0].input)
        size = source.shape[input_axes(self.graph, source).index(axis)]
        return None if size is None else (size, int(places[0].stride))

    @cached_property
    def fields(self) -> dict[int, ReceptiveField]:
        """The receptive field of every tensor, by its id."""
        return fields_of(self.graph)


@dataclass(frozen=True)
class Subject:
    """A model to be checked; `x` and `y` are a sample's inputs and targets, by the names of inputs and as they came."""

    model: Any
    views: tuple[View, ...]
    x: dict[str, torch.Tensor]
    y: Any

    def calls(self, *classes: type[Layer]) -> Iterator[tuple[View, Node, Any]]:
        """Every call of a layer of these classes, in nested models too."""
        for view in self.views:
            for node in view.nodes:
                if isinstance(node.operation, classes):
                    yield view, node, node.operation

    @property
    def top(self) -> View | None:
        """The model's own graph; None for a subclassed model, or one that is not built."""
        return self.views[0] if self.views and self.views[0].model is self.model else None

    def inputs(self) -> Iterator[tuple[View, KerasTensor, str]]:
        """The inputs of the model's own graph, with their names."""
        if self.top is not None:
            for tensor in self.top.graph.inputs:
                yield self.top, tensor, node_of(tensor).operation.name

    def layers(self) -> Iterator[tuple[str, Layer]]:
        """Every layer in the model, each once, with its path; those of subclassed models and layers too."""
        yield from _layers(self.model, "", set())


def subject_of(model: Any, sample: Any) -> Subject:
    """What is checked of a model. Errors: a sample that the model cannot take is the model's own ShapeError."""
    views = tuple(_views(model, "", set()))
    x, y, _ = unpack_x_y_sample_weight(sample if isinstance(sample, tuple) else (sample,))
    inputs: dict[str, torch.Tensor] = {}
    if x is not None and views and views[0].model is model:
        model.check_input_shapes(x)
        for value, symbol in zip(model._match_inputs(x), views[0].graph.inputs, strict=True):
            inputs[node_of(symbol).operation.name] = as_given(value)
    return Subject(model, views, inputs, y)


def as_given(value: Any) -> torch.Tensor:
    """Data as a tensor of the type that it has."""
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))


def _views(model: Any, prefix: str, seen: set[int]) -> Iterator[View]:
    if id(model) in seen:
        return
    seen.add(id(model))
    if getattr(model, "graph", None) is not None:
        view = View(model, prefix)
        yield view
        inner = [node.operation for node in view.nodes]
    else:
        inner = [child for child in children(model) if isinstance(child, Layer)]
    for operation in inner:
        if isinstance(operation, Model):
            yield from _views(operation, f"{prefix}{operation.name}/", seen)


def _layers(owner: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Layer]]:
    for child in children(owner):
        if isinstance(child, Layer) and id(child) not in seen:
            seen.add(id(child))
            yield f"{prefix}{child.name}", child
            yield from _layers(child, f"{prefix}{child.name}/", seen)
