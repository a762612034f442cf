"""A node: one call of an operation on symbolic tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamina.base import names, tree
from lamina.base.errors import ShapeError
from lamina.graph.history import add_sizes
from lamina.graph.keras_tensor import KerasHistory, KerasTensor, any_symbolic
from lamina.graph.probe import probe


class Node:
    """One call: the operation, its arguments as they were given, the symbolic tensors in and out."""

    def __init__(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any):
        self.operation = operation
        self.args = args
        self.kwargs = kwargs
        self.outputs = outputs
        self.in_graph = False  # whether any Graph holds it
        leaves = tree.flatten((args, kwargs))
        self.input_tensors: list[KerasTensor] = [leaf for leaf in leaves if isinstance(leaf, KerasTensor)]
        self.output_tensors: list[KerasTensor] = [
            leaf for leaf in tree.flatten(outputs) if isinstance(leaf, KerasTensor)
        ]
        index = len(operation._inbound_nodes)
        operation._inbound_nodes.append(self)
        for position, tensor in enumerate(self.output_tensors):
            tensor._keras_history = KerasHistory(operation, index, position)
        for tensor in self.input_tensors:
            if tensor._keras_history is not None:
                tensor._keras_history.operation._outbound_nodes.append(self)

    @property
    def is_input(self) -> bool:
        return not self.input_tensors

    @property
    def parent_nodes(self) -> list[Node]:
        return [node_of(tensor) for tensor in self.input_tensors if tensor._keras_history is not None]

    def __repr__(self) -> str:
        return f"<Node {self.operation.name}: {[t.shape for t in self.input_tensors]} → {self.outputs}>"


def node_of(tensor: KerasTensor) -> Node:
    """The call that made a symbolic tensor."""
    assert tensor._keras_history is not None
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


class Operation:
    """A function in a graph: what `lamina.ops` functions become when they meet a symbolic tensor."""

    def __init__(self, function: Callable[..., Any], name: str | None = None):
        self.function = function
        self.name = name or names.auto_name(function.__name__)
        self._inbound_nodes: list[Node] = []
        self._outbound_nodes: list[Node] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not any_symbolic(args, kwargs):
            return self.function(*args, **kwargs)
        try:
            outputs = self.compute_output_spec(*args, **kwargs)
        except ShapeError as error:
            raise self.explain_failure(error, args, kwargs) or error from error.__cause__
        Node(self, args, kwargs, outputs)
        return outputs

    def explain_failure(self, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception | None:
        """A shape error completed with the function's name and the sizes before it; None for any other error."""
        if not isinstance(error, ShapeError):
            return None
        add_sizes(error.place(layer=self.name), (args, kwargs), self.name)
        return error

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The symbolic results of the function on symbolic arguments; records no node."""
        return probe(self.function, args, kwargs, what=f"ops.{self.function.__name__}")

    @property
    def input(self) -> Any:
        return self._inbound_nodes[0].input_tensors[0]

    @property
    def output(self) -> Any:
        return self._inbound_nodes[0].outputs

    def __repr__(self) -> str:
        return f"<Operation name={self.name}>"
