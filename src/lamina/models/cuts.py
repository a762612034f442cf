"""Whether a model ends inside a residual block: branches that a later Add would join are cut apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lamina.base.errors import warn_shape
from lamina.base.scope import Scoped
from lamina.graph.function import Graph
from lamina.graph.node import Node
from lamina.layers.layer import Layer

_RESIDUAL = ("Add", "add")

on_purpose = Scoped(False)  # `with on_purpose.set(True):` models that are made inside give no warning


def warn_if_cut_in_block(model: Any, graph: Graph) -> dict[str, str] | None:
    """Warns when the graph that the outputs were taken from goes on, and an Add further on joins what was cut apart.

    Returns the parts of the warning, which `model.check()` reports later: by then a user may have built on the model.
    """
    parts = cut_in_block(model, graph)
    if parts is not None and not on_purpose.value:
        warn_shape(**parts)
    return parts


def cut_in_block(model: Any, graph: Graph) -> dict[str, str] | None:
    """The parts of a message about a model that ends inside a residual block; None where it does not."""
    inside = {id(node) for node in graph.topology.nodes}
    frontier = [node for node in graph.topology.nodes if any(True for _ in _consumers(node, inside))]
    if len(frontier) < 2:
        return None
    merge = _closing_add(frontier, inside)
    if merge is None:
        return None
    closed, ends = merge
    layers = [operation for operation in graph.operations if isinstance(operation, Layer)]
    last = layers[-1]
    names = " and ".join(repr(node.operation.name) for node in ends)
    lost = [name for node in ends for name in _names_to(node, closed, inside)]
    return {
        "headline": f"The model {model.name!r} ends inside a residual block: the cut at layer {len(layers)}, "
        f"{last.name!r}, comes before {closed.operation.name!r} joins the branches.",
        "layer": last.name,
        "path": f"{model.name}/{last.name}",
        "received": "\n".join(
            f"{tuple(n.output_tensors[0].shape)}  from {type(n.operation).__name__} {n.operation.name!r}" for n in ends
        ),
        "expected": "an end at which one tensor carries everything",
        "because": f"{closed.operation.name!r} closes the block by adding what follows {names}; the model has the "
        f"branches and not their sum" + (f", and misses {', '.join(map(repr, dict.fromkeys(lost)))}" if lost else ""),
        "mend": f"take the outputs up to {closed.operation.name!r} or to the end of the block before",
    }


def _consumers(node: Node, inside: set[int]) -> Iterator[Node]:
    """The calls outside the model that read a result of a node."""
    results = {id(tensor) for tensor in node.output_tensors}
    for consumer in node.operation._outbound_nodes:
        if id(consumer) not in inside and any(id(tensor) in results for tensor in consumer.input_tensors):
            yield consumer


def _followers(start: Node, inside: set[int]) -> dict[int, Node]:
    """Every call outside the model that depends on a node."""
    found: dict[int, Node] = {}
    waiting = list(_consumers(start, inside))
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting.extend(_consumers(node, inside))
    return found


def _closing_add(frontier: list[Node], inside: set[int]) -> tuple[Node, list[Node]] | None:
    """The Add nearest to the model that depends on two or more of its ends, with these ends."""
    followers = {id(node): _followers(node, inside) for node in frontier}
    candidates: dict[int, tuple[Node, list[Node]]] = {}
    for node in frontier:
        for follower in followers[id(node)].values():
            if type(follower.operation).__name__ in _RESIDUAL or follower.operation.name in _RESIDUAL:
                candidates.setdefault(id(follower), (follower, []))[1].append(node)
    joined = [(merge, ends) for merge, ends in candidates.values() if len(ends) > 1 and _joins(merge, ends, followers)]
    if not joined:
        return None
    return min(joined, key=lambda found: len(_before(found[0], inside)))


def _joins(merge: Node, ends: list[Node], followers: dict[int, dict[int, Node]]) -> bool:
    """Whether the Add's inputs come from different ends, rather than all through one path that joined before."""
    sources = []
    for parent in merge.parent_nodes:
        sources.append({id(end) for end in ends if end is parent or id(parent) in followers[id(end)]})
    return len(sources) > 1 and any(a != b for a in sources for b in sources)


def _before(node: Node, inside: set[int]) -> set[int]:
    """The calls outside the model on which a call depends."""
    found: set[int] = set()
    waiting = [node]
    while waiting:
        for parent in waiting.pop().parent_nodes:
            if id(parent) not in inside and id(parent) not in found:
                found.add(id(parent))
                waiting.append(parent)
    return found


def _names_to(end: Node, merge: Node, inside: set[int]) -> list[str]:
    """The layers between an end of the model and the Add."""
    before = _before(merge, inside)
    return [node.operation.name for node in _followers(end, inside).values() if id(node) in before]
