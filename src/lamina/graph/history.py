"""What came before a symbolic tensor: the calls that made it, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lamina.base import tree
from lamina.base.errors import ShapeError, SizeTable
from lamina.graph.keras_tensor import KerasTensor

if TYPE_CHECKING:
    from lamina.graph.node import Node


def source_text(tensor: Any) -> str:
    """`  from Conv2D 'conv'`, the layer that made a symbolic tensor; nothing for other tensors."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return ""
    return f"  from {kind_of(history.operation)} {history.operation.name!r}"


def kind_of(operation: Any) -> str:
    """A layer's class, or the function's name in `lamina.ops`."""
    if hasattr(operation, "direct_call"):  # a layer, also one that has a function, as Lambda
        return type(operation).__name__
    return f"ops.{operation.function.__name__}"


def shapes_text(values: Any) -> str:
    """The shapes of the symbolic tensors in a structure, one a line, each with what made it."""
    leaves = [leaf for leaf in tree.flatten(values) if isinstance(leaf, KerasTensor)]
    return "\n".join(f"{leaf.shape}{source_text(leaf)}" for leaf in leaves)


def ancestors(tensors: Iterable[KerasTensor], among: set[int] | None = None) -> list[Node]:
    """The calls on which tensors depend, in the order in which they ran; `among`, if given, holds the ids of those
    that count."""
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(node, False) for node in reversed(_makers(tensors))]
    while stack:
        node, leaving = stack.pop()
        if leaving:
            order.append(node)
        elif id(node) not in seen and (among is None or id(node) in among):
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((parent, False) for parent in reversed(_makers(node.input_tensors)))
    return order


def _makers(tensors: Iterable[KerasTensor]) -> list[Node]:
    histories = [tensor._keras_history for tensor in tensors]
    return [history.operation._inbound_nodes[history.node_index] for history in histories if history is not None]


def row_of(node: Node, outputs: Iterable[Any]) -> tuple[str, str, str]:
    """A line of the table of sizes: an operation's name, its kind and the shapes that it gave."""
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in outputs)
    return node.operation.name, kind_of(node.operation), shapes


def add_sizes(error: ShapeError, values: Any, inside: str) -> None:
    """Puts the sizes that led to these symbolic arguments of an operation (`inside`) into an error: in front of those
    that a model of that name has noted already. Nothing where only inputs came before."""
    tensors = [leaf for leaf in tree.flatten(values) if isinstance(leaf, KerasTensor)]
    if not tensors:
        return
    nodes = ancestors(tensors)
    if error.table is not None:
        error.table = error.table.inside(inside)
    if error.table is None and all(node.is_input for node in nodes):
        return
    before = SizeTable(tuple(row_of(node, node.output_tensors) for node in nodes)) if nodes else None
    error.table = before if error.table is None else error.table.after(before)
