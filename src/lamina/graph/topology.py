"""The order of a graph: nodes and operations sorted by depth, as Keras sorts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lamina.base.errors import LaminaError
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node, node_of


class DisconnectedError(LaminaError, ValueError):
    """A graph whose outputs cannot be computed from its inputs."""


@dataclass(frozen=True)
class Topology:
    """Nodes in an order in which they can run, and operations in Keras's order."""

    nodes: list[Node]
    operations: list[Any]
    depth_of_node: dict[int, int]  # by id(node); outputs have depth 0
    depth_of_operation: dict[int, int]


def sort(inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> Topology:
    """Sorts what lies between inputs and outputs by decreasing depth, ties in the order of a walk from the outputs.

    Errors: an output that needs an input which is not given is a DisconnectedError that names the way there.
    """
    order, first_seen = _walk(inputs, outputs)
    node_depth: dict[int, int] = {}
    operation_depth: dict[int, int] = {}
    for node in reversed(order):
        depth = max(node_depth.get(id(node), 0), operation_depth.get(id(node.operation), 0))
        node_depth[id(node)] = operation_depth[id(node.operation)] = depth
        for parent in _parents(node, inputs):
            node_depth[id(parent)] = max(depth + 1, node_depth.get(id(parent), 0))
    for tensor in inputs:
        node = node_of(tensor)
        if id(node) not in node_depth:  # an input that no output needs
            order.append(node)
            node_depth[id(node)] = 0
            operation_depth.setdefault(id(node.operation), 0)
            first_seen.setdefault(id(node.operation), (len(first_seen), node.operation))
    nodes = sorted(order, key=lambda node: -node_depth[id(node)])
    _check_connected(nodes, inputs)
    ranked = sorted(first_seen.values(), key=lambda seen: (-operation_depth[id(seen[1])], seen[0]))
    return Topology(nodes, [operation for _, operation in ranked], node_depth, operation_depth)


def _parents(node: Node, inputs: Sequence[KerasTensor]) -> list[Node]:
    if all(any(tensor is given for given in inputs) for tensor in node.output_tensors):
        return []
    return node.parent_nodes


def _walk(
    inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]
) -> tuple[list[Node], dict[int, tuple[int, Any]]]:
    """Depth first from the outputs, without recursion: nodes as they are left, operations as they are met."""
    order: list[Node] = []
    first_seen: dict[int, tuple[int, Any]] = {}
    done: set[int] = set()
    given = {id(tensor) for tensor in inputs}
    for output in outputs:
        stack: list[tuple[Node, bool]] = [(node_of(output), False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                order.append(node)
                continue
            if id(node) in done:
                continue
            done.add(id(node))
            first_seen.setdefault(id(node.operation), (len(first_seen), node.operation))
            stack.append((node, True))
            if not all(id(tensor) in given for tensor in node.output_tensors):
                stack.extend((parent, False) for parent in reversed(node.parent_nodes))
    return order, first_seen


def _check_connected(nodes: list[Node], inputs: Sequence[KerasTensor]) -> None:
    ready = {id(tensor) for tensor in inputs}
    for node in nodes:
        if node.is_input and any(id(tensor) not in ready for tensor in node.output_tensors):
            raise DisconnectedError(
                f"The outputs need the input {node.operation.name!r}, which is not among the model's inputs "
                f"({', '.join(t._keras_history.operation.name for t in inputs if t._keras_history)}). "
                f"Add it to the inputs, or take outputs that do not depend on it."
            )
        ready.update(id(tensor) for tensor in node.output_tensors)
