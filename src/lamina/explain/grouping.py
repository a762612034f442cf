"""Blocks inside blocks: what a picture puts into one frame, or folds into one box."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lamina.graph.function import Graph
from lamina.graph.node import Node, Operation, node_of
from lamina.graph.regions import common_beginning
from lamina.layers.layer import Layer

_ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "relu", "silu", "gelu")


@dataclass(frozen=True, eq=False)
class Group:
    """Branches that part behind one call and meet in a merge, with all between; nothing else reads what is inside.

    `nodes` are its calls in an order in which they can run, those of groups inside it included.
    """

    name: str
    nodes: tuple[Node, ...]


def group_paths(graph: Graph) -> dict[int, tuple[Group, ...]]:
    """For every call in a group, by its id, the groups around it, from the outermost to the innermost.

    A group ends at a call that reads several others and begins behind the nearest call through which all ways to it
    lead (its immediate dominator). Unlike `lamina.graph.regions.blocks`, which knows only places where one tensor
    carries the whole model, this finds blocks within the levels of a U-Net or beside the taps of a feature pyramid.

    >>> import lamina
    >>> x = lamina.Input((4,), name="in")
    >>> a = lamina.layers.Dense(4, name="step_a")(x)
    >>> model = lamina.Model(x, lamina.layers.Add(name="step_add")([x, a]))
    >>> [[group.name for group in path] for path in group_paths(model.graph).values()]
    [['step'], ['step']]
    """
    return _Search(graph).paths()


class _Search:
    """The calls of a graph by their place in an order in which they can run, who reads whom, and the dominators."""

    def __init__(self, graph: Graph):
        self.nodes = graph.topology.nodes
        place = {id(node): number for number, node in enumerate(self.nodes)}
        given = {id(tensor) for tensor in graph.inputs}
        self.parents: list[set[int]] = []
        self.readers: list[set[int]] = [set() for _ in self.nodes]
        self.outputs = {place[id(node_of(tensor))] for tensor in graph.outputs}
        self.dominator: list[int] = []  # -1 where several inputs lead to a call
        self.bearers = Counter(start for node in self.nodes for start in _beginnings(node.operation.name))
        for number, node in enumerate(self.nodes):
            is_input = all(id(tensor) in given for tensor in node.output_tensors)
            parents = set() if is_input else {place[id(parent)] for parent in node.parent_nodes}
            self.parents.append(parents)
            for parent in parents:
                self.readers[parent].add(number)
            self.dominator.append(functools.reduce(self._common, parents) if parents else -1)

    def _common(self, one: int, other: int) -> int:
        while one != other:
            one, other = (self.dominator[one], other) if one > other else (one, self.dominator[other])
        return one

    def paths(self) -> dict[int, tuple[Group, ...]]:
        found = [members for merge in range(len(self.nodes)) if (members := self._members(merge))]
        found.sort(key=lambda members: (min(members), -len(members)))
        taken: list[tuple[set[int], Group]] = []
        paths: dict[int, tuple[Group, ...]] = {}
        for number, members in enumerate(found, start=1):
            if any(members & others and not members <= others for others, _ in taken):
                continue
            name = self._name(members) or f"block {number}"
            group = Group(name, tuple(self.nodes[member] for member in sorted(members)))
            taken.append((members, group))
            for node in group.nodes:
                paths[id(node)] = (*paths.get(id(node), ()), group)
        return paths

    def _members(self, merge: int) -> set[int]:
        """The calls of the group that a merge ends; empty if it ends none."""
        entry = self.dominator[merge]
        if len(self.parents[merge]) < 2 or entry < 0:
            return set()
        inside, waiting = set[int](), [merge]
        while waiting:
            fresh = self.parents[waiting.pop()] - inside - {entry}
            inside |= fresh
            waiting += fresh
        members = inside | {merge}
        if inside & self.outputs or any(not self.readers[number] <= members for number in inside):
            return set()
        if not any(isinstance(layer := self.nodes[number].operation, Layer) and layer.weights for number in inside):
            return set()  # arithmetic like x + 2 * x is no block
        return self._with_neighbours(members, entry, merge)

    def _with_neighbours(self, members: set[int], entry: int, merge: int) -> set[int]:
        """With the calls of the same name right before the branches and right behind the merge, as ResNet's last
        activation; where names say nothing, with an activation behind the merge."""
        beginning = common_beginning(self._names(members))
        while (
            beginning and len(self.parents[entry]) == 1 and self.readers[entry] <= members and entry not in self.outputs
        ) and _bears(self.nodes[entry], beginning):
            members = members | {entry}
            (entry,) = self.parents[entry]
        last = merge
        while last not in self.outputs and len(self.readers[last]) == 1:
            (following,) = self.readers[last]
            activates = last == merge and not beginning and class_name(self.nodes[following]) in _ACTIVATIONS
            if self.parents[following] != {last} or not (activates or _bears(self.nodes[following], beginning)):
                break
            members = members | {following}
            last = following
        return members

    def _names(self, members: Iterable[int]) -> list[str]:
        return [self.nodes[member].operation.name for member in members]

    def _name(self, members: set[int]) -> str:
        """What the names of a group's layers begin with, if no other layer's name does."""
        beginning = common_beginning(self._names(members))
        return beginning if self.bearers[beginning] == len(members) else ""


def _beginnings(name: str) -> Iterator[str]:
    """All that a name begins with, up to an underscore or slash, and the name itself."""
    for number, character in enumerate(name):
        if character in "_/":
            yield name[:number]
    yield name


def _bears(node: Node, beginning: str) -> bool:
    return bool(beginning) and str(node.operation.name).startswith((f"{beginning}_", f"{beginning}/"))


def class_name(node: Node) -> str:
    """The class of the layer, or the function of the operation, that a call runs."""
    operation = node.operation
    return operation.function.__name__ if isinstance(operation, Operation) else type(operation).__name__
