"""One call of a layer or a function on symbolic tensors, with the names of all axes: what every explanation reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lamina.base import tree
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node
from lamina.layers.input_layer import InputLayer
from lamina.layers.layer import Layer
from lamina.layers.signature import build_names
from lamina.shapes import Axes


@dataclass(frozen=True)
class Call:
    """The operation, its arguments, and what it gave."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    @classmethod
    def of(cls, node: Node) -> Call:
        """The call of a node in a graph."""
        return cls(node.operation, node.args, node.kwargs, node.outputs)

    @classmethod
    def on(cls, layer: Any, input_shape: Any) -> Call:
        """A layer on an input shape (or a list of shapes), built on it if it is not built; no graph is made."""
        symbols = tree.map_shapes(lambda shape: KerasTensor(shape, layer.compute_dtype), input_shape)
        several = len(build_names(type(layer).build)) > 1  # a layer that takes its tensors one by one
        args = tuple(symbols) if several and isinstance(symbols, list) else (symbols,)
        layer._ensure_built(args, {})
        return cls(layer, args, {}, layer.compute_output_spec(*args))

    @cached_property
    def received(self) -> list[KerasTensor]:
        return [leaf for leaf in tree.flatten((self.args, self.kwargs)) if isinstance(leaf, KerasTensor)]

    @cached_property
    def produced(self) -> list[KerasTensor]:
        return [leaf for leaf in tree.flatten(self.result) if isinstance(leaf, KerasTensor)]

    @property
    def graph(self) -> Any:
        """The graph of a nested model; None of anything else."""
        return getattr(self.operation, "graph", None)

    @property
    def has_rule(self) -> bool:
        return bool(getattr(self.operation, "_has_rule", False)) and not isinstance(self.operation, InputLayer)

    @cached_property
    def inputs(self) -> list[Axes]:
        """The received shapes under the names that the operation gives to their axes."""
        if not isinstance(self.operation, Layer):
            return [Axes.of(tensor.shape) for tensor in self.received]
        read = self._rule_arguments[0] if self.has_rule else self.received
        return [Axes(self.operation.axis_names(tensor.ndim), tensor.shape) for tensor in read]

    @cached_property
    def _rule_arguments(self) -> tuple[list[KerasTensor], dict[str, Any]]:
        tensors, named = self.operation.rule_arguments(self.args, self.kwargs)
        return [tensor for tensor in tensors if isinstance(tensor, KerasTensor)], named

    def apply_rule(self, inputs: list[Axes]) -> list[Axes]:
        """The outputs' axes by the shape rule, for sizes in place of the call's own."""
        result = self.operation.shape_rule(*inputs, **self._rule_arguments[1])
        return [result] if isinstance(result, Axes) else list(result)

    @cached_property
    def outputs(self) -> list[Axes]:
        """The produced shapes under the names that the shape rule gives to their axes, or the usual ones."""
        if self.has_rule:
            return self.apply_rule(self.inputs)
        return [Axes.of(tensor.shape) for tensor in self.produced]
